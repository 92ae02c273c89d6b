"""How large each tensor's gradients have been: the unit that they are read in, and what is unsound.

Rules do not mind in which unit a tensor's gradients are, and float32 does: squares overflow from
1.8e19 on. So each tensor has a unit, a power of two near the size of its gradients, in which
averages and memory are kept and squares are taken. It follows the gradients, and what is kept is
converted, which is exact.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from lopt.rules.averages import over, root

_DECAY = 0.95
"""Of the running mean of squared sizes."""

_SPIKE = 100.0
"""Times the usual size, above which a gradient is taken for a spike."""

_SHRUNK = 5.0
"""Times the usual size, to which a spike is shrunk. If it was none, the usual size has grown to the
new one within log(ratio) / 0.39 steps."""

_NOTHING = 2.0**-24
"""Times the usual size, below which a gradient would leave no trace in averages of float32."""

_SMALLEST = 2.0**-126
_LARGEST = 2.0**126
"""Between them floats are normal, and so are their inverses."""


class Sizes(NamedTuple):
    """What is kept of the sizes of gradients, for each tensor.

    The size of a gradient is its largest entry.

    Attributes:
      taken: gradients in the averages; those that tell nothing are left out.
      unit: a power of two.
      square: a running mean of squared sizes, in that unit.
    """

    taken: Int[Array, " tensors"]
    unit: Float[Array, " tensors"]
    square: Float[Array, " tensors"]


class Reading(NamedTuple):
    """The gradient of one tensor as a rule reads it; without stacked axes all others are scalars.

    Attributes:
      grad: in the tensor's unit.
      unit: that unit.
      change: what numbers in the unit before are multiplied by.
      count: gradients in the averages with this one, at least 1.
      moves: whether the gradient tells anything. If not, the tensor stays as it is, and so does
        what is kept of it.
      usual: whether it does, and is no spike.
    """

    grad: Float[Array, "..."]
    unit: Float[Array, "*stacked"]
    change: Float[Array, "*stacked"]
    count: Int[Array, "*stacked"]  # type: ignore[assignment]
    moves: Bool[Array, "*stacked"]
    usual: Bool[Array, "*stacked"]


def init_sizes(tensors: int) -> Sizes:
    """What is kept before the first step; a tensor with stacked axes counts as so many."""
    unit, square = jnp.ones(tensors, jnp.float32), jnp.zeros(tensors, jnp.float32)
    return Sizes(jnp.zeros(tensors, jnp.int32), unit, square)


def read(
    kept: Sizes, grads: PyTree[Float[Array, "..."]], stacked: Sequence[int] | None = None
) -> tuple[PyTree[Reading], Sizes]:
    """Read the gradients of all tensors.

    With x the size of a gradient and s the usual one, the root of the running mean of squares, it
    is a spike above 100 s, and counts as one of 5 s then. It tells nothing if it is zero or less
    than 2^-24 s; in the latter case the unit falls to its size, so that gradients that stay so
    small count from the next step on.

    Args:
      kept: from the step before.
      grads: finite gradients.
      stacked: how many leading axes of each run over separate tensors; none by default.

    Returns:
      A reading in the place of each gradient, and what is kept after it.
    """
    grads, structure = jax.tree.flatten(grads)
    stacked = stacked or [0] * len(grads)
    leading = [np.shape(g)[:k] for g, k in zip(grads, stacked, strict=True)]
    sizes = [
        jnp.max(jnp.abs(g), axis=tuple(range(k, g.ndim))).reshape(-1)
        for g, k in zip(grads, stacked, strict=True)
    ]
    x = jnp.concatenate(sizes).astype(jnp.float32)
    power = jnp.clip(_power_of_two(x), _SMALLEST, _LARGEST)
    first, begun = kept.taken == 0, kept.taken > 0
    unit = jnp.where(first, power, kept.unit)
    usual = root(kept.square)
    relative = x / unit
    spike = begun & (relative > _SPIKE * usual)
    nothing = x < _SMALLEST
    faint = begun & ~nothing & (relative < _NOTHING * usual)
    moves = ~(nothing | faint)

    now = jnp.where(spike, _SHRUNK * usual, relative)
    mean = jnp.where(first, now**2, _DECAY * kept.square + (1 - _DECAY) * now**2)
    new = jnp.clip(unit * _power_of_two(root(jnp.where(moves, mean, 1))), _SMALLEST, _LARGEST)
    new = jnp.where(moves, new, unit)
    change = unit / new
    after = Sizes(
        kept.taken + moves,
        jnp.where(moves, new, jnp.where(faint, power, kept.unit)),
        jnp.where(moves, mean * change**2, jnp.where(faint, 1.0, kept.square)),
    )
    # Powers of two below the inverse of the largest float are not normal: the factor is apart.
    inverse = 1 / jnp.where(spike, power, new)
    factor = jnp.where(spike, now * change * (power / jnp.where(x > 0, x, 1)), 1.0)
    factor = jnp.where(moves, factor, 0.0)
    count = jnp.maximum(after.taken, 1)
    ends = np.cumsum([int(np.prod(shape)) for shape in leading])[:-1]
    of_rows = inverse, factor, new, change, count, moves, moves & ~spike
    parts = [jnp.split(v, ends) for v in of_rows]
    found = []
    for g, shape, *of_tensor in zip(grads, leading, *parts, strict=True):
        scale, share, *rest = (v.reshape(shape) for v in of_tensor)
        found.append(Reading(g * over(scale, g) * over(share, g), *rest))
    return jax.tree.unflatten(structure, found), after


def _power_of_two(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The largest power of two that is not above a float of at least 2^-126; zero below."""
    exponent = jax.lax.bitcast_convert_type(x, jnp.int32) & 0x7F800000
    return jax.lax.bitcast_convert_type(exponent, jnp.float32)
