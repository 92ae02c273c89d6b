"""Averages, diagonals and their broadcasts, over single axes of arrays with channels last."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.unf.once import once

_FOLD = 8
"""How many slices one folding step of a long mean adds."""

_WIDE = 2048
"""Behind an axis with this many elements, XLA's CPU reduction is slower than folding."""

_SMALL = 2**15
"""Up to this many elements, the reduction is as fast, and compiles faster."""


def mean(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """The mean over one axis, at the speed of one pass over memory.

    XLA's CPU backend reduces an axis by walking it innermost. Where it is short, or a wide slab
    lies behind it, that walk is strided and up to 40 times slower than adding whole slices, which
    is what this function does then.
    """
    size = x.shape[axis]
    behind = 1
    for n in x.shape[axis + 1 :]:
        behind *= n
    if size == 1:
        return jax.lax.squeeze(x, (axis,))
    if x.size >= _SMALL and (size <= _FOLD or behind >= _WIDE):
        return once(_folded_mean, x, axis=axis)
    return once(jnp.mean, x, axis=axis)


def _folded_mean(x: Array, axis: int) -> Array:
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (_fold(wide, axis) * (1 / x.shape[axis])).astype(x.dtype)


def _fold(x: Array, axis: int) -> Array:
    rest = []
    while (size := x.shape[axis]) > 1:
        parts = min(size, _FOLD)
        step = size // parts
        cuts = [jax.lax.slice_in_dim(x, i * step, (i + 1) * step, axis=axis) for i in range(parts)]
        rest += [jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in range(parts * step, size)]
        x = sum(cuts[1:], cuts[0])
    return jax.lax.squeeze(sum(rest, x), (axis,))


def diagonal(x: Float[Array, "..."], first: int, second: int) -> Float[Array, "..."]:
    """The entries at which axes `first < second` have the same index; it stays at `first`."""
    x = jnp.moveaxis(x, second, first + 1)
    size = x.shape[first]
    x = x.reshape(*x.shape[:first], size * size, *x.shape[first + 2 :])
    return jax.lax.slice_in_dim(x, 0, None, stride=size + 1, axis=first)


def on_diagonal(x: Float[Array, "..."], first: int, second: int) -> Float[Array, "..."]:
    """Zeros, but for `x` where axes `first < second` have the same index: `diagonal`'s adjoint."""
    size = x.shape[first]
    x = jnp.expand_dims(x, second)
    ones = [1] * (x.ndim - second - 1)
    mask = jnp.eye(size, dtype=bool).reshape(size, *[1] * (second - first - 1), size, *ones)
    return jnp.where(mask, x, jnp.zeros((), x.dtype))
