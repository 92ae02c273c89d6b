"""What a direction is: an equivariant candidate for a step of a tensor, of those that gates mix."""

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import jax
from jaxtyping import Array, Float, Int

from lopt.base.checks import DECAYS, number, set_checked
from lopt.rules.averages import Average, debiased


class Tensor(NamedTuple):
    """What directions read of one tensor.

    Attributes:
      param: the weights.
      grad: the gradient.
      averages: of gradients, as the rule keeps them.
      count: gradients in the averages, at least 1.
      inputs: how many leading axes are the input side of the matrix that the tensor is: all but
        the output axes, which come last here whatever their order in the model. 0 for a vector
        or a scalar, which is no matrix.
      unit: in which the gradient and its averages are, a power of two near the size of gradients,
        so that squares do not overflow.
    """

    param: Float[Array, "..."]
    grad: Float[Array, "..."]
    averages: Mapping[str, Float[Array, "..."]]
    count: Int[Array, ""]  # type: ignore[assignment]
    inputs: int
    unit: Float[Array, ""] | float = 1.0

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
      keeps: names of what it keeps of tensors besides averages, each with the power of the
        gradients' unit that it has: 2 for squares of gradients, 0 for what has none. When the unit
        changes, the rule converts it. It is kept as it is in steps without a gradient.
    """

    matrices_only: bool = False
    keeps: Mapping[str, int] = MappingProxyType({})

    @property
    @abc.abstractmethod
    def reads(self) -> tuple[Average, ...]:
        """The averages that it needs."""

    @property
    def start(self) -> tuple[float, ...]:
        """Where the numbers that the network adjusts for each tensor begin."""
        return ()

    def init(self, shape: tuple[int, ...], inputs: int) -> Memory:
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
          memory: what `init` or the step before returned.
        """


@dataclass(frozen=True)
class OfMomenta(Direction):
    """A direction made of a mixture of momenta and the gradient.

    The mixture's logits are the first of its settings; they begin mostly at one decay.

    Attributes:
      decays: of the momenta that are mixed.
      nominal: the mixture begins mostly at the decay nearest to it.
    """

    decays: Sequence[float] = (0.95,)
    nominal: float = 0.95

    gradient_logit: ClassVar[float] = -3.0

    def __post_init__(self) -> None:
        """Refuse numbers that are not valid."""
        name = type(self).__name__.lower()
        set_checked(self, name, decays=DECAYS, nominal=number())

    @property
    def reads(self) -> tuple[Average, ...]:
        return tuple(Average(1, d) for d in self.decays)

    @property
    def start(self) -> tuple[float, ...]:
        nearest = min(self.decays, key=lambda d: abs(d - self.nominal))
        return (*(0.0 if d == nearest else -3.0 for d in self.decays), self.gradient_logit)


def matrix_of(shape: tuple[int, ...], inputs: int) -> tuple[int, int]:
    """The sizes of a tensor's input and output side."""
    return math.prod(shape[:inputs]), math.prod(shape[inputs:])
