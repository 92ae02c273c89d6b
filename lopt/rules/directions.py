"""Directions: lawful candidates for a tensor's step, that a rule of gates mixes."""

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lopt.errors import UserError
from lopt.parts import Parts
from lopt.rules.averages import Average, debiased, require_decays, root
from lopt.rules.orthogonal import orthogonalize
from lopt.rules.steps import unit_rms


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


class Direction(abc.ABC):
    """A candidate for the step of a tensor, equivariant, of about unit root mean square.

    Attributes:
      start: what the network's settings are added to.
      matrices_only: whether vectors and scalars do without it.
    """

    matrices_only: bool = False

    @property
    @abc.abstractmethod
    def reads(self) -> tuple[Average, ...]:
        """The averages that it needs."""

    @property
    def start(self) -> tuple[float, ...]:
        """Where the numbers that the network adjusts for each tensor begin."""
        return ()

    @abc.abstractmethod
    def __call__(self, tensor: Tensor, settings: Float[Array, " settings"]) -> Float[Array, "..."]:
        """The direction, of the tensor's shape; zero if all its gradients were zero.

        Args:
          tensor: what is known of it.
          settings: as many numbers as `start` has.
        """


def _start(decays: Sequence[float], nominal: float, gradient: float) -> tuple[float, ...]:
    """Logits of a mixture of momenta that begins mostly at one decay, with some gradient."""
    nearest = min(decays, key=lambda d: abs(d - nominal))
    return (*(0.0 if d == nearest else -3.0 for d in decays), gradient)


@dataclass(frozen=True)
class Adam(Direction):
    """A mixture of momenta over the root of the second moment (Kingma & Ba, arXiv 1412.6980).

        m / (sqrt(v) + epsilon),    m = sum_k softmax(settings)_k m_k

    Of a matrix it is scaled to unit root mean square, as in Celo2 (arXiv 2602.19142). A vector or
    a scalar keeps its length, which falls as the noise in its gradients grows.

    Attributes:
      decays: of the momenta that are mixed.
      second_decay: of the second moment.
      nominal: the mixture begins mostly at the decay nearest to it.
      epsilon: added to the root.
    """

    decays: Sequence[float] = (0.8, 0.95, 0.99)
    second_decay: float = 0.99
    nominal: float = 0.95
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse decays that are none."""
        object.__setattr__(self, "decays", require_decays("adam", self.decays))
        require_decays("adam", (self.second_decay,))
        if not self.epsilon > 0:
            raise UserError(f"adam: epsilon must be positive, not {self.epsilon}")

    @property
    def reads(self) -> tuple[Average, ...]:  # noqa: D102
        return (*(Average(1, d) for d in self.decays), Average(2, self.second_decay))

    @property
    def start(self) -> tuple[float, ...]:  # noqa: D102
        return _start(self.decays, self.nominal, -3.0)

    def __call__(  # noqa: D102
        self, tensor: Tensor, settings: Float[Array, " settings"]
    ) -> Float[Array, "..."]:
        mixed = tensor.mixture(self.decays, settings)
        ratio = mixed / (root(tensor.average(2, self.second_decay)) + self.epsilon)
        return unit_rms(ratio) if tensor.inputs else ratio


@dataclass(frozen=True)
class Momentum(Direction):
    """A mixture of momenta, scaled to unit root mean square: normalized gradient descent.

    Attributes:
      decays: of the momenta that are mixed.
      nominal: the mixture begins mostly at the decay nearest to it.
    """

    decays: Sequence[float] = (0.8, 0.95, 0.99)
    nominal: float = 0.95
    matrices_only = True

    def __post_init__(self) -> None:
        """Refuse decays that are none."""
        object.__setattr__(self, "decays", require_decays("momentum", self.decays))

    @property
    def reads(self) -> tuple[Average, ...]:  # noqa: D102
        return tuple(Average(1, d) for d in self.decays)

    @property
    def start(self) -> tuple[float, ...]:  # noqa: D102
        return _start(self.decays, self.nominal, -3.0)

    def __call__(  # noqa: D102
        self, tensor: Tensor, settings: Float[Array, " settings"]
    ) -> Float[Array, "..."]:
        return unit_rms(tensor.mixture(self.decays, settings))


@dataclass(frozen=True)
class Orthogonal(Direction):
    """A mixture of momenta made orthogonal as a matrix: Muon's direction (Jordan et al., 2024).

        sqrt(max(n, m)) O,    O = orthogonalize(m) of shape (n, m)

    has unit root mean square where m has full rank. A kernel is the matrix (space x inputs,
    outputs); heads and their width are one side. Each output neuron's share is divided by its root
    mean square to a learned power: with power 1 all are alike, as in NorMuon (Li et al., arXiv
    2510.05491), whose averages over steps are left out.

    Attributes:
      decays: of the momenta that are mixed.
      nominal: the mixture begins mostly at the decay nearest to it.
      iterations: of Newton and Schulz.
      power: where the power begins.
    """

    decays: Sequence[float] = (0.8, 0.95, 0.99)
    nominal: float = 0.95
    iterations: int = 5
    power: float = 0.0
    matrices_only = True

    def __post_init__(self) -> None:
        """Refuse decays that are none."""
        object.__setattr__(self, "decays", require_decays("orthogonal", self.decays))
        if self.iterations < 1:
            raise UserError(f"orthogonal: iterations must be 1 or more, not {self.iterations}")

    @property
    def reads(self) -> tuple[Average, ...]:  # noqa: D102
        return tuple(Average(1, d) for d in self.decays)

    @property
    def start(self) -> tuple[float, ...]:  # noqa: D102
        return (*_start(self.decays, self.nominal, -3.0), self.power)

    def __call__(  # noqa: D102
        self, tensor: Tensor, settings: Float[Array, " settings"]
    ) -> Float[Array, "..."]:
        mixed = tensor.mixture(self.decays, settings[:-1])
        shape = (math.prod(mixed.shape[: tensor.inputs]), math.prod(mixed.shape[tensor.inputs :]))
        factor = math.sqrt(max(shape)) * orthogonalize(mixed.reshape(shape), self.iterations)
        square = jnp.mean(jnp.square(factor), 0)
        gain = jnp.exp(-0.5 * settings[-1] * jnp.log(jnp.maximum(square, 1e-4)))
        return (factor * gain).reshape(mixed.shape)


DIRECTIONS = Parts("direction", Direction, adam=Adam, momentum=Momentum, orthogonal=Orthogonal)
"""The directions that a rule of gates can name."""
