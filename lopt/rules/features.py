"""What an update rule reads of each parameter: features, each with its own state."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from lopt.parts import Parts

Tree = PyTree[Array]


class Feature(abc.ABC):
    """Some channels for each parameter, computed from gradients and params as training goes.

    Every channel is equivariant: permuting neurons in gradients and params permutes it alike.
    """

    @property
    @abc.abstractmethod
    def channels(self) -> int:
        """How many channels each parameter gets."""

    @abc.abstractmethod
    def init(self, params: Tree) -> Any:
        """The state before the first step."""

    @abc.abstractmethod
    def update(self, grads: Tree, params: Tree, state: Any) -> tuple[Tree, Any]:
        """Channels of shape (*param.shape, channels) per tensor, and the next state."""


@dataclass(frozen=True)
class Weight(Feature):
    """The parameter itself."""

    channels = 1

    def init(self, params: Tree) -> tuple[()]:  # noqa: D102
        return ()

    def update(self, grads: Tree, params: Tree, state: tuple[()]) -> tuple[Tree, tuple[()]]:  # noqa: D102
        return jax.tree.map(lambda p: p[..., None], params), state


@dataclass(frozen=True)
class Gradient(Feature):
    """The gradient itself."""

    channels = 1

    def init(self, params: Tree) -> tuple[()]:  # noqa: D102
        return ()

    def update(self, grads: Tree, params: Tree, state: tuple[()]) -> tuple[Tree, tuple[()]]:  # noqa: D102
        return jax.tree.map(lambda g: g[..., None], grads), state


class Averages(NamedTuple):
    """Exponential moving averages, (*param.shape, decays) per tensor, and their age in steps."""

    values: Tree
    count: Int[Array, ""]


@dataclass(frozen=True)
class Momentum(Feature):
    """Averages of the gradient: m <- decay m + (1 - decay) g, divided by 1 - decay^t.

    Attributes:
      decays: one channel for each.
    """

    decays: Sequence[float] = (0.5, 0.9, 0.99)

    @property
    def channels(self) -> int:  # noqa: D102
        return len(self.decays)

    def init(self, params: Tree) -> Averages:  # noqa: D102
        return _zeros(params, len(self.decays))

    def update(self, grads: Tree, params: Tree, state: Averages) -> tuple[Tree, Averages]:  # noqa: D102
        state = _average(grads, state, self.decays)
        return _debias(state, self.decays), state


@dataclass(frozen=True)
class SecondMoment(Feature):
    """Root of the averages of the squared gradient, debiased as in Adam.

    Attributes:
      decays: one channel for each.
    """

    decays: Sequence[float] = (0.999,)

    @property
    def channels(self) -> int:  # noqa: D102
        return len(self.decays)

    def init(self, params: Tree) -> Averages:  # noqa: D102
        return _zeros(params, len(self.decays))

    def update(self, grads: Tree, params: Tree, state: Averages) -> tuple[Tree, Averages]:  # noqa: D102
        state = _average(jax.tree.map(jnp.square, grads), state, self.decays)
        return jax.tree.map(_root, _debias(state, self.decays)), state


class MomentState(NamedTuple):
    """The states of the two features that `AdamDirection` divides."""

    first: Averages
    second: Averages


@dataclass(frozen=True)
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
    def channels(self) -> int:  # noqa: D102
        return len(self.decays)

    def init(self, params: Tree) -> MomentState:  # noqa: D102
        first, second = Momentum(self.decays), SecondMoment((self.second_decay,))
        return MomentState(first.init(params), second.init(params))

    def update(self, grads: Tree, params: Tree, state: MomentState) -> tuple[Tree, MomentState]:  # noqa: D102
        m, first = Momentum(self.decays).update(grads, params, state.first)
        v, second = SecondMoment((self.second_decay,)).update(grads, params, state.second)
        ratio = jax.tree.map(lambda m, v: m / (v + self.epsilon), m, v)
        return ratio, MomentState(first, second)


def _zeros(params: Tree, decays: int) -> Averages:
    values = jax.tree.map(lambda p: jnp.zeros((*p.shape, decays), p.dtype), params)
    return Averages(values, jnp.zeros((), jnp.int32))


def _root(x: Array) -> Array:
    """The square root, whose derivative at zero is zero: a dead unit's gradients are all zero."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def _average(x: Tree, state: Averages, decays: Sequence[float]) -> Averages:
    decay = jnp.asarray(decays, jnp.float32)
    values = jax.tree.map(lambda m, x: decay * m + (1 - decay) * x[..., None], state.values, x)
    return Averages(values, state.count + 1)


def _debias(state: Averages, decays: Sequence[float]) -> Tree:
    age = 1 - jnp.asarray(decays, jnp.float32) ** state.count
    return jax.tree.map(lambda m: m / age, state.values)


FEATURES = Parts(
    "feature",
    weight=Weight,
    gradient=Gradient,
    momentum=Momentum,
    second_moment=SecondMoment,
    adam_direction=AdamDirection,
)
"""The features that a rule can name."""
