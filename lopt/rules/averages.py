"""Exponential moving averages of gradients, each kept once for all that read it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from lopt.base.mesh import laid_out_like


class Average(NamedTuple):
    r"""An average that a feature or a direction reads.

    With :math:`g_t` the gradient of step t = 1, 2, ..., :math:`\beta` the decay and k the order,
    it is

    .. math:: a_t = \beta a_{t-1} + (1 - \beta) g_t^k, \qquad a_0 = 0,

    and what is read is :math:`a_t / (1 - \beta^t)`, as in Adam (Kingma & Ba, arXiv 1412.6980).

    Attributes:
      order: 1 for a momentum, 2 for a second moment.
      decay: from 0 to below 1.
    """

    order: int
    decay: float


def init_averages(
    reads: Iterable[Average], params: PyTree[Array], momentum_dtype: Any = jnp.float32
) -> dict[str, PyTree[Array]]:
    """Zeros for each distinct average.

    Args:
      reads: the averages that are read, in any order, repeated or not.
      params: arrays or shapes.
      momentum_dtype: of averages of order 1; the others are float32.

    Returns:
      A tree like params for each average, by a name such as `"momentum_0.9"`.
    """

    def zeros(average: Average) -> PyTree[Array]:
        dtype = momentum_dtype if average.order == 1 else jnp.float32
        return jax.tree.map(lambda p: laid_out_like(jnp.zeros_like(p, dtype), p), params)

    return {_name(average): zeros(average) for average in sorted(set(reads))}


def advance(
    state: Mapping[str, PyTree[Array]],
    reads: Iterable[Average],
    grads: PyTree[Array],
    change: Float[Array, "*stacked"] | float = 1.0,
    moves: Bool[Array, "*stacked"] | bool = True,
) -> dict[str, PyTree[Array]]:
    """The averages after another gradient, each in the dtype in which it is kept.

    Args:
      state: the averages before.
      reads: which ones.
      grads: the gradients.
      change: what numbers in the unit of the gradients before are multiplied by; one number, or one
        for each entry of leading axes.
      moves: whether the gradients count; if not, they have to be zero.
    """

    def one(average: Average) -> PyTree[Array]:
        keep = jnp.where(moves, average.decay * jnp.asarray(change) ** average.order, 1.0)

        def step(a: Array, g: Array) -> Array:
            new = over(keep, g) * a.astype(jnp.float32) + (1 - average.decay) * g**average.order
            return new.astype(a.dtype)

        return jax.tree.map(step, state[_name(average)], grads)

    return {_name(average): one(average) for average in sorted(set(reads))}


def debiased(
    state: Mapping[str, Any], average: Average, count: Int[Array, "*stacked"]
) -> Float[Array, "..."]:
    """One tensor's average, divided by the weight that its gradients have in it.

    Args:
      state: of one tensor: an array for each average.
      average: which one.
      count: gradients in it, at least 1; one number, or one for each entry of leading axes.
    """
    weight = 1 - jnp.float32(average.decay) ** count
    value = state[_name(average)].astype(jnp.float32)
    return value / over(weight, value)


def root(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The square root, whose derivative at zero is zero: a dead unit's gradients are all zero."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def over(number: Float[Array, "*stacked"], like: Float[Array, "..."]) -> Array:
    """Numbers for leading axes, with axes of size one in place of an array's others."""
    return jnp.reshape(number, (*jnp.shape(number), *[1] * (jnp.ndim(like) - jnp.ndim(number))))


def _name(average: Average) -> str:
    return f"{'momentum' if average.order == 1 else 'second_moment'}_{average.decay:g}"
