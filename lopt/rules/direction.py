"""What a direction is: a lawful candidate for a tensor's step, that a rule of gates mixes."""

import abc
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int

from lopt.rules.averages import Average, debiased


class Tensor(NamedTuple):
    """What directions read of one tensor.

    Attributes:
      param: the weights.
      grad: the gradient.
      averages: of gradients, as the rule keeps them.
      count: gradients in the averages, at least 1.
      inputs: how many leading axes are the input side of the matrix that the tensor is: all but
        the output axes. 0 for a vector or a scalar, which is none.
    """

    param: Float[Array, "..."]
    grad: Float[Array, "..."]
    averages: Mapping[str, Float[Array, "..."]]
    count: Int[Array, ""]
    inputs: int

    def average(self, order: int, decay: float) -> Float[Array, "..."]:
        """A debiased average."""
        return debiased(self.averages, Average(order, decay), self.count)

    def mixture(
        self, decays: Sequence[float], logits: Float[Array, " decays_and_one"]
    ) -> Float[Array, "..."]:
        """A convex combination of momenta and, last, the gradient; its weights are softmax(logits).

        Nesterov's momentum is one: its weights are the decay and one minus it.
        """
        weights = jax.nn.softmax(logits)
        parts = [*(self.average(1, d) for d in decays), self.grad]
        return sum(w * p for w, p in zip(weights, parts, strict=True))


Memory = Mapping[str, Float[Array, "..."]]
"""What a direction keeps of one tensor."""


class Direction(abc.ABC):
    """A candidate for the step of a tensor, equivariant, of about unit root mean square.

    Attributes:
      start: what the network's settings are added to.
      matrices_only: whether vectors and scalars do without it.
      keeps: names of what it keeps of tensors besides averages.
    """

    matrices_only: bool = False
    keeps: tuple[str, ...] = ()

    @property
    @abc.abstractmethod
    def reads(self) -> tuple[Average, ...]:
        """The averages that it needs."""

    @property
    def start(self) -> tuple[float, ...]:
        """Where the numbers that the network adjusts for each tensor begin."""
        return ()

    def begin(self, shape: tuple[int, ...], inputs: int) -> Memory:
        """What is kept of a tensor before its first step, by some of the names in `keeps`.

        Args:
          shape: of the tensor.
          inputs: as in `Tensor`.
        """
        del shape, inputs
        return {}

    @abc.abstractmethod
    def __call__(
        self, tensor: Tensor, settings: Float[Array, " settings"], memory: Memory
    ) -> tuple[Float[Array, "..."], Memory]:
        """The direction, of the tensor's shape, and what is kept after it.

        The direction is zero if all gradients were zero.

        Args:
          tensor: what is known of it.
          settings: as many numbers as `start` has.
          memory: what `begin` or the step before returned.
        """


def momenta(decays: Sequence[float], nominal: float, gradient: float) -> tuple[float, ...]:
    """Logits of a mixture of momenta that begins mostly at one decay, with some gradient."""
    nearest = min(decays, key=lambda d: abs(d - nominal))
    return (*(0.0 if d == nearest else -3.0 for d in decays), gradient)


def matrix_of(shape: tuple[int, ...], inputs: int) -> tuple[int, int]:
    """The sizes of a tensor's input and output side."""
    return math.prod(shape[:inputs]), math.prod(shape[inputs:])
