"""The mean over one axis of an array."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.unf import backend
from lopt.unf.cpu.once import once

_FOLD = 8  # slices that one folding step of a long mean adds

_WIDE = 2048  # elements behind a leading axis from which XLA's CPU reduction is slower than folding

_SMALL = 2**15  # elements up to which the reduction is as fast, and compiles faster


def mean(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """The mean over one axis, at the speed of one pass over memory.

    XLA's CPU backend reduces an axis by walking it innermost. Where it is short, or leads a wide
    slab, that walk is strided and up to 40 times slower than adding whole slices, which is what
    this function does then, on the CPU ("Folded means" in docs/performance.md).
    """
    size = x.shape[axis]
    before, behind = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    if size == 1:
        return jax.lax.squeeze(x, (axis,))
    short = size <= _FOLD and before <= _FOLD
    slow = x.size >= _SMALL and (short or (before == 1 and behind >= _WIDE))
    return once(_folded_mean if slow and backend.on_cpu() else jnp.mean, x, axis=axis)


def _folded_mean(x: Array, axis: int) -> Array:
    """The mean over one axis, as sums of slices in float32 at least."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    slabs = wide.reshape(-1, *x.shape[axis:])
    folded = [_fold(jax.lax.index_in_dim(slabs, i, 0, keepdims=False)) for i in range(len(slabs))]
    means = jnp.stack(folded) * (1 / x.shape[axis])
    return means.reshape(*x.shape[:axis], *x.shape[axis + 1 :]).astype(x.dtype)


def _fold(x: Array) -> Array:
    """The sum over the first axis."""
    rest = []
    while (size := x.shape[0]) > 1:
        parts = min(size, _FOLD)
        step = size // parts
        cuts = [jax.lax.slice_in_dim(x, i * step, (i + 1) * step, axis=0) for i in range(parts)]
        rest += [jax.lax.slice_in_dim(x, i, i + 1, axis=0) for i in range(parts * step, size)]
        x = sum(cuts[1:], cuts[0])
    return jax.lax.squeeze(sum(rest, x), (0,))
