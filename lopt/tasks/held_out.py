"""Averages over a held-out split that is larger than a batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Values = dict[str, Float[Array, " examples"]]


def mean_over(
    measure: Callable[[PyTree[Array]], Values],
    examples: PyTree[Array],
    weights: Float[Array, " examples"],
    chunk: int = 64,
) -> dict[str, Float[Array, ""]]:
    """Weighted means of what is measured of each example, `chunk` examples at a time.

    Args:
      measure: examples -> values of each, by name.
      examples: a pytree of arrays with a leading axis of examples.
      weights: of the examples in the mean.
      chunk: how many examples are measured at once; it bounds the memory, of which an evaluation of
        many runs at once needs that many times more.
    """
    number = len(weights)
    chunk = min(chunk, number)
    chunks = -(-number // chunk)

    def cut(x: Array) -> Array:
        padding = [(0, chunks * chunk - number)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, padding).reshape(chunks, chunk, *x.shape[1:])

    def total(part: tuple[PyTree[Array], Array]) -> dict[str, Array]:
        examples, weights = part
        values = measure(examples)
        return jax.tree.map(lambda v: jnp.sum(jnp.where(weights > 0, weights * v, 0.0)), values)

    totals = jax.lax.map(total, jax.tree.map(cut, (examples, weights)))
    return jax.tree.map(lambda t: t.sum() / weights.sum(), totals)
