r"""How large a matrix' inputs are, as its gradients and those of its bias tell.

The gradient of a matrix is :math:`\delta x^\top`, where :math:`\delta` is that of its bias and x
its inputs, so that their root mean squares are as that of x to one, for one example exactly.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lopt.rules.matrices import Matrix

_DECAY = 0.95
"""Of the average of log ratios, as that of the momentum."""

_SMALLEST = -3.4
"""A step is no more than 30 times as large as with inputs of unit size."""

_LARGEST = 7.0
_UNTOLD = 5.7
"""From a ratio of 300 on, it is the bias that has hardly a gradient, as before a normalization."""


def init_input_size() -> Float[Array, " 2"]:
    """The state of a matrix that has a bias: a sum of log ratios, and that of their weights."""
    return jnp.zeros(2, jnp.float32)


def advance_input_size(
    state: Float[Array, "... 2"], of_matrix: Float[Array, "..."], of_bias: Float[Array, "..."]
) -> Float[Array, "... 2"]:
    """The state after one more step.

    Args:
      state: before it.
      of_matrix: the log root mean square of the matrix' gradient, zero if that is zero.
      of_bias: that of its bias.
    """
    ratio = jnp.clip(of_matrix - of_bias, _SMALLEST, _LARGEST)
    now = _DECAY * state + (1 - _DECAY) * jnp.stack([ratio, jnp.ones_like(ratio)], -1)
    return jnp.where(((of_matrix != 0) & (of_bias != 0))[..., None], now, state)


def log_input_size(state: Float[Array, "... 2"]) -> Float[Array, "..."]:
    """The log root mean square of a matrix' inputs, zero as long as nothing tells it."""
    total, weight = state[..., 0], state[..., 1]
    mean = total / jnp.where(weight > 0, weight, 1)
    return jnp.where(mean < _UNTOLD, mean, 0)


def input_sizes(
    states: Sequence[Any],
    logs: Sequence[Float[Array, " copies"]],
    layout: Sequence[Matrix],
) -> tuple[list[Float[Array, "... 2"] | None], Float[Array, " matrices"]]:
    """The state of each tensor after one more step, and the log sizes of its matrices' inputs.

    Args:
      states: before it, of shape (..., 2); None for tensors without a bias, whose inputs count as
        of size one.
      logs: the log root mean squares of each tensor's gradients, zero for those that are zero.
      layout: of the tensors.
    """
    after: list[Float[Array, "... 2"] | None] = [None] * len(layout)
    sizes = [jnp.zeros(matrix.copies, jnp.float32) for matrix in layout]
    pairs = [(i, m.bias, m.copies) for i, m in enumerate(layout) if m.bias is not None]
    if pairs:
        # All at once: a program of a few operations for a model of any depth.
        before = jnp.concatenate([jnp.reshape(states[i], (-1, 2)) for i, _, _ in pairs])
        of_matrix = jnp.concatenate([logs[i] for i, _, _ in pairs])
        of_bias = jnp.concatenate([logs[bias] for _, bias, _ in pairs])
        now = advance_input_size(before, of_matrix, of_bias)
        ends = np.cumsum([copies for _, _, copies in pairs])[:-1]
        found = zip(jnp.split(now, ends), jnp.split(log_input_size(now), ends), strict=True)
        for (i, _, _), (state, size) in zip(pairs, found, strict=True):
            after[i], sizes[i] = state.reshape(jnp.shape(states[i])), size
    return after, jnp.concatenate(sizes)
