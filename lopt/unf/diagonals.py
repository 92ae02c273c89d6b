"""The diagonal over two axes of an array, and its adjoint."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


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
