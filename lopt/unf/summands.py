"""Sums whose summands are parts of arrays, transposed and broadcast while they are added.

A layer's output is a sum of terms of different shapes: its own channels at full size, and terms
that are constant along some axes. Made into arrays of the full size one by one, each would cost a
pass over memory to write and another to add. A `Summand` says how a term is read from a smaller
array, and `add` reads all of them in one loop that writes the output once, non-linearity included.
On backends that fuse sums anyway it is the plain sum.

>>> import jax.numpy as jnp
>>> column, row = jnp.arange(2.0).reshape(2, 1), jnp.arange(3.0).reshape(3, 1)
>>> add([Summand(column, Shape(sizes=(2, 1))), Summand(row, Shape(sizes=(1, 3)))])[..., 0].tolist()
[[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.unf.cpu.once import once

Activation = Callable[[Array], Array]


class Shape(NamedTuple):
    """How a summand differs from its array; what is given is applied in this order."""

    rows: tuple[int, int] | None = None  # start and stop of its part of the first axis
    channels: tuple[int, int] | None = None  # start and stop of its part of the last axis
    order: tuple[int, ...] | None = None  # a transpose of all axes but the last
    sizes: tuple[int, ...] | None = None  # a reshape of these, with ones to broadcast along
    diagonal: tuple[int, ...] | None = None  # two axes of the result, on whose diagonal it is


class Summand(NamedTuple):
    """An array, and how it is looked at."""

    array: Array
    shape: Shape = Shape()


def add(summands: Sequence[Summand], activation: Activation | None = None) -> Float[Array, "..."]:
    """`activation(sum(summands))`, with broadcasting, computed once."""
    if len(summands) == 1 and summands[0].shape == Shape() and activation is None:
        return summands[0].array
    shapes = tuple(s.shape for s in summands)
    return once(_add, *(s.array for s in summands), shapes=shapes, activation=activation)


def _add(*arrays: Array, shapes: tuple[Shape, ...], activation: Activation | None) -> Array:
    first, *rest = map(_look, arrays, shapes)
    total = sum(rest, first)
    return total if activation is None else activation(total)


def _look(x: Array, shape: Shape) -> Array:
    if shape.rows is not None:
        x = jax.lax.slice_in_dim(x, *shape.rows, axis=0)
    if shape.channels is not None:
        x = jax.lax.slice_in_dim(x, *shape.channels, axis=-1)
    if shape.order is not None:
        x = x.transpose(*shape.order, len(shape.order))
    if shape.sizes is not None:
        x = x.reshape(*shape.sizes, x.shape[-1])
    return x if shape.diagonal is None else on_diagonal(x, *shape.diagonal)


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


def map_channels(x: Float[Array, "... channels_in"], kernel: Float[Array, "i o"]) -> Summand:
    """`x @ kernel`, where several tensors may lie side by side in the channels of x."""
    copies = x.shape[-1] // kernel.shape[0]
    rows = x.reshape(-1, kernel.shape[0]) @ kernel
    return Summand(rows.reshape(*x.shape[:-1], copies * kernel.shape[1]))
