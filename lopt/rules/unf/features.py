"""Features that a rule over parameters reads of each of them, tensor by tensor."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lopt.base.checks import DECAY, DECAYS, FLAG, POSITIVE, checked
from lopt.base.parts import Parts
from lopt.rules.unf.averages import Average
from lopt.rules.units import debiased, root


@dataclass(frozen=True)
class Read:
    """Reads one tensor's averages.

    Attributes:
      averages: an array by each average's name.
      count: gradients in them, at least 1.
      unit: that they are in, a power of two.
    """

    averages: Mapping[str, Array]
    count: Int[Array, ""]
    unit: Float[Array, ""] | float = 1.0

    def __call__(self, average: Average, *, debias: bool = True) -> Float[Array, "..."]:
        """The average, divided by the weight that gradients have in it unless `debias` is off."""
        return self._in_unit(average, debias) * self.unit**average.order

    def root(self, average: Average) -> Float[Array, "..."]:
        """The root of a second moment, which does not overflow where gradients do not."""
        return root(self._in_unit(average, debias=True)) * self.unit

    def _in_unit(self, average: Average, debias: bool) -> Float[Array, "..."]:
        value = self.averages[average.name]
        return debiased(value, average.decay, self.count) if debias else value


class Feature(abc.ABC):
    """Some channels for each parameter, from its gradient, its value, and averages of gradients.

    Every channel is equivariant: permuting neurons in gradients and params permutes it alike. The
    rule keeps the averages, each once, whichever features read it.
    """

    @property
    @abc.abstractmethod
    def channels(self) -> int:
        """How many channels each parameter gets."""

    @property
    def reads(self) -> tuple[Average, ...]:
        """The averages that it needs."""
        return ()

    @abc.abstractmethod
    def __call__(
        self, grad: Float[Array, "..."], param: Float[Array, "..."], read: Read
    ) -> Float[Array, "... channels"]:
        """The channels of one tensor."""


@dataclass(frozen=True)
class Weight(Feature):
    """The parameter itself."""

    channels = 1

    def __call__(
        self, grad: Float[Array, "..."], param: Float[Array, "..."], read: Read
    ) -> Float[Array, "... channels"]:
        return param[..., None]


@dataclass(frozen=True)
class Gradient(Feature):
    """The gradient itself."""

    channels = 1

    def __call__(
        self, grad: Float[Array, "..."], param: Float[Array, "..."], read: Read
    ) -> Float[Array, "... channels"]:
        return grad[..., None]


@dataclass(frozen=True)
@checked("momentum", decays=DECAYS, debias=FLAG)
class Momentum(Feature):
    """Averages of the gradient: m <- decay m + (1 - decay) g, divided by 1 - decay^t.

    Attributes:
      decays: one channel for each.
      debias: whether they are divided; without it they grow from zero over 1 / (1 - decay) steps.
    """

    decays: Sequence[float] = (0.5, 0.9, 0.99)
    debias: bool = True

    @property
    def channels(self) -> int:
        return len(self.decays)

    @property
    def reads(self) -> tuple[Average, ...]:
        return tuple(Average(1, d) for d in self.decays)

    def __call__(
        self, grad: Float[Array, "..."], param: Float[Array, "..."], read: Read
    ) -> Float[Array, "... channels"]:
        return jnp.stack([read(a, debias=self.debias) for a in self.reads], -1)


@dataclass(frozen=True)
@checked("second_moment", decays=DECAYS)
class SecondMoment(Feature):
    """Root of the averages of the squared gradient, debiased as in Adam.

    Attributes:
      decays: one channel for each.
    """

    decays: Sequence[float] = (0.999,)

    @property
    def channels(self) -> int:
        return len(self.decays)

    @property
    def reads(self) -> tuple[Average, ...]:
        return tuple(Average(2, d) for d in self.decays)

    def __call__(
        self, grad: Float[Array, "..."], param: Float[Array, "..."], read: Read
    ) -> Float[Array, "... channels"]:
        return jnp.stack([read.root(a) for a in self.reads], -1)


@dataclass(frozen=True)
@checked("adam_direction", decays=DECAYS, second_decay=DECAY, epsilon=POSITIVE)
class AdamDirection(Feature):
    """Momentum over the root of the second moment (Kingma & Ba, arXiv 1412.6980), sign kept.

    Attributes:
      decays: of the momenta; one channel for each.
      second_decay: of the second moment that divides them all.
      epsilon: added to the root.
    """

    decays: Sequence[float] = (0.9,)
    second_decay: float = 0.999
    epsilon: float = 1e-8

    @property
    def channels(self) -> int:
        return len(self.decays)

    @property
    def reads(self) -> tuple[Average, ...]:
        return (*(Average(1, d) for d in self.decays), Average(2, self.second_decay))

    def __call__(
        self, grad: Float[Array, "..."], param: Float[Array, "..."], read: Read
    ) -> Float[Array, "... channels"]:
        *momenta, second = self.reads
        scale = read.root(second) + self.epsilon
        return jnp.stack([read(a) / scale for a in momenta], -1)


FEATURES = Parts(
    "feature",
    Feature,
    weight=Weight,
    gradient=Gradient,
    momentum=Momentum,
    second_moment=SecondMoment,
    adam_direction=AdamDirection,
)
"""The features that a rule can name."""
