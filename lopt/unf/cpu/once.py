"""Arrays that XLA should compute once on the CPU, in one pass over memory."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array

from lopt.unf import backend

_SMALL = 2**15  # elements up to which computing them again is cheaper than compiling a call


def once(function: Callable[..., Array], *arrays: Array, **options: Hashable) -> Array:
    """`function(*arrays, **options)`, on the CPU as a call that XLA keeps a call.

    To XLA's CPU backend, sums of broadcasts, concatenations and folded means look so cheap that it
    computes them again for every reader, and the sums that they are made of for every element; or
    it fuses them into a matmul, where they are slower than in a loop of their own. Small arrays are
    left to it. The measurements are under "Calls that stay calls" and "Leaving small arrays alone"
    in docs/performance.md; `python benchmarks/unf_layer.py` repeats them.

    XLA inlines calls, and fuses what it inlined, unless the call's metadata say that it is not
    `inlineable`; the function within must not inherit that, and must not consist of jitted calls,
    which would stay calls, too. Arrays go in and come out without axes of size 1: of these XLA may
    choose any layout, and copies arrays at the call if it chose another one outside.
    """
    if not backend.on_cpu() or sum(a.size for a in arrays) < _SMALL:
        return function(*arrays, **options)
    shapes = tuple(a.shape for a in arrays)
    result = jax.eval_shape(partial(function, **options), *arrays)
    with set_xla_metadata(inlineable="false"):
        value = _call(function, tuple(options.items()), shapes, *map(_squeeze, arrays))
    return value.reshape(result.shape)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _call(function: Callable[..., Array], options: tuple, shapes: tuple, *arrays: Array) -> Array:
    with set_xla_metadata(inlineable=None), jax.disable_jit():
        shaped = [a.reshape(shape) for a, shape in zip(arrays, shapes, strict=True)]
        return _squeeze(function(*shaped, **dict(options)))


def _squeeze(x: Array) -> Array:
    """The array without its axes of size 1."""
    return x.reshape([n for n in x.shape if n != 1])


def concatenate_once(arrays: Sequence[Array], axis: int) -> Array:
    """`jnp.concatenate`, of any positive number of arrays."""
    return arrays[0] if len(arrays) == 1 else once(_concatenate, *arrays, axis=axis)


def _concatenate(*arrays: Array, axis: int) -> Array:
    return jnp.concatenate(arrays, axis)
