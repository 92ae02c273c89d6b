"""How large a matrix' inputs are, as its gradients and those of its bias tell."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lopt.rules.matrices import Matrix
from lopt.symmetry import PermutationSpec

_DECAY = 0.95
_SMALLEST = -3.4
"""A step is no more than 30 times as large as with inputs of unit size."""

_LARGEST = 7.0
_UNTOLD = 5.7
"""From a ratio of 300 on, it is the bias that has hardly a gradient, as before a normalization."""


def biases_of(spec: PermutationSpec, layout: Sequence[Matrix], known: bool) -> list[int | None]:
    """For each tensor, which one is its bias: the vector beside it that adds to what it writes.

    It is in the same module and has the axes of the matrix' output side, or without a spec their
    sizes. A matrix of which two vectors could be the bias has none, nor has a table.

    Args:
      spec: of which tensors.
      layout: of each tensor.
      known: whether the spec's groups tell anything.

    >>> from lopt.rules.matrices import matrices
    >>> from lopt.symmetry import Axes
    >>> axes = {"bias": Axes("h"), "kernel": Axes("in", "h"), "out": Axes("h", "k")}
    >>> spec = PermutationSpec(axes, {"in": 3, "h": 4, "k": 5})
    >>> biases_of(spec, matrices(spec), known=True)
    [None, 0, None]
    """
    entries = spec.entries
    vectors: dict[tuple, list[int]] = {}
    for i, ((path, axes), matrix) in enumerate(zip(entries, layout, strict=True)):
        if matrix.shape and not matrix.inputs:
            key = tuple(axes) if known else matrix.shape
            vectors.setdefault((path[:-1], key), []).append(i)
    found: list[int | None] = []
    for (path, axes), matrix in zip(entries, layout, strict=True):
        written = matrix.order[matrix.inputs :]
        key = tuple(axes[k] for k in written) if known else matrix.shape[matrix.inputs :]
        sums = matrix.inputs and matrix.kind != "table"
        beside = vectors.get((path[:-1], key), []) if sums else []
        found.append(beside[0] if len(beside) == 1 else None)
    return found


def init_ratio() -> Float[Array, " 2"]:
    """What is kept of a matrix that has a bias, before its first step."""
    return jnp.zeros(2, jnp.float32)


def advance_ratio(
    kept: Float[Array, "... 2"], of_matrix: Float[Array, "..."], of_bias: Float[Array, "..."]
) -> Float[Array, "... 2"]:
    """What is kept after one more step: a sum of log ratios and that of their weights.

    Args:
      kept: as before.
      of_matrix: the log root mean square of the matrix' gradient, zero if that is zero.
      of_bias: that of its bias.
    """
    ratio = jnp.clip(of_matrix - of_bias, _SMALLEST, _LARGEST)
    now = _DECAY * kept + (1 - _DECAY) * jnp.stack([ratio, jnp.ones_like(ratio)], -1)
    return jnp.where(((of_matrix != 0) & (of_bias != 0))[..., None], now, kept)


def log_size(kept: Float[Array, "... 2"]) -> Float[Array, "..."]:
    r"""The log root mean square of a matrix' inputs x, or zero as long as nothing tells it.

    The gradient of a matrix is :math:`\delta x^\top`, where :math:`\delta` is that of its bias, so
    that their root mean squares are as that of x to one, for one example exactly.
    """
    total, weight = kept[..., 0], kept[..., 1]
    mean = total / jnp.where(weight > 0, weight, 1)
    return jnp.where(mean < _UNTOLD, mean, 0)


def sizes_of_inputs(
    kept: Sequence[Float[Array, " 2"] | None],
    logs: Float[Array, " tensors"],
    biases: Sequence[int | None],
) -> tuple[list[Float[Array, " 2"] | None], Float[Array, " tensors"]]:
    """What is kept of each tensor after one more step, and the log size of its inputs.

    Args:
      kept: as before, None for tensors without a bias, whose inputs' size is taken for one.
      logs: the log root mean square of each tensor's gradient, zero if that is zero.
      biases: as `biases_of` has them.
    """
    found: list[Float[Array, " 2"] | None] = [None] * len(biases)
    sizes = jnp.zeros(len(biases), jnp.float32)
    pairs = [(i, bias) for i, bias in enumerate(biases) if bias is not None]
    if pairs:
        of_matrix, of_bias = map(np.array, zip(*pairs, strict=True))
        before = jnp.stack([kept[i] for i, _ in pairs])
        now = advance_ratio(before, logs[of_matrix], logs[of_bias])
        sizes = sizes.at[of_matrix].set(log_size(now))
        for i, ratio in zip(of_matrix, now, strict=True):
            found[i] = ratio
    return found, sizes
