"""How large a matrix' inputs are, as its gradients and those of its bias tell."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lopt.rules.matrices import Matrix
from lopt.symmetry import PermutationSpec
from lopt.symmetry.biases import bias_of_each

_DECAY = 0.95
_SMALLEST = -3.4
"""A step is no more than 30 times as large as with inputs of unit size."""

_LARGEST = 7.0
_UNTOLD = 5.7
"""From a ratio of 300 on, it is the bias that has hardly a gradient, as before a normalization."""


def biases_of(spec: PermutationSpec, layout: Sequence[Matrix], known: bool) -> list[int | None]:
    """For each tensor, which one is its bias: the vector that is added to what it writes.

    The spec tells. Without one, it is the only vector in the same module that is as long as the
    output side. A table has none, and a stack of matrices a stack of as many.

    Args:
      spec: of which tensors.
      layout: of each tensor.
      known: whether the spec tells anything.

    >>> from lopt.rules.matrices import matrices
    >>> from lopt.symmetry import Axes
    >>> axes = {"bias": Axes("h"), "kernel": Axes("in", "h"), "out": Axes("h", "k")}
    >>> spec = PermutationSpec(axes, {"in": 3, "h": 4, "k": 5})
    >>> biases_of(spec, matrices(spec), known=True)
    [None, 0, None]
    """
    if known:
        place = {path: i for i, (path, _) in enumerate(spec.entries)}
        told = bias_of_each(spec)
        found = [place[told[path]] if path in told else None for path, _ in spec.entries]
    else:
        found = _by_size(spec, layout)
    return [
        bias if bias is not None and _fit(matrix, layout[bias]) else None
        for matrix, bias in zip(layout, found, strict=True)
    ]


def _fit(matrix: Matrix, bias: Matrix) -> bool:
    sums = matrix.inputs > 0 and matrix.kind != "table"
    return sums and not bias.inputs and matrix.copies == bias.copies


def _by_size(spec: PermutationSpec, layout: Sequence[Matrix]) -> list[int | None]:
    modules = [path[:-1] for path, _ in spec.entries]
    vectors: dict[tuple, list[int]] = {}
    for i, (module, matrix) in enumerate(zip(modules, layout, strict=True)):
        if matrix.shape and not matrix.inputs:
            vectors.setdefault((module, matrix.shape), []).append(i)
    beside = [
        vectors.get((module, matrix.shape[matrix.inputs :]), [])
        for module, matrix in zip(modules, layout, strict=True)
    ]
    return [found[0] if len(found) == 1 else None for found in beside]


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
    kept: Sequence[Float[Array, "... 2"] | None],
    logs: Float[Array, " matrices"],
    biases: Sequence[int | None],
    copies: Sequence[int],
) -> tuple[list[Float[Array, "... 2"] | None], Float[Array, " matrices"]]:
    """What is kept of each tensor after one more step, and the log size of its inputs.

    Args:
      kept: as before, None for tensors without a bias, whose inputs' size is taken for one.
      logs: the log root mean square of each tensor's gradient, zero if that is zero; of a stack one
        for each of its matrices.
      biases: as `biases_of` has them.
      copies: how many matrices each tensor is.
    """
    found: list[Float[Array, "... 2"] | None] = [None] * len(biases)
    sizes = jnp.zeros(len(logs), jnp.float32)
    pairs = [(i, bias) for i, bias in enumerate(biases) if bias is not None]
    if pairs:
        starts = np.cumsum([0, *copies])
        rows = [np.arange(n) for n in copies]
        of_matrix = np.concatenate([starts[i] + rows[i] for i, _ in pairs])
        of_bias = np.concatenate([starts[bias] + rows[i] for i, bias in pairs])
        before = jnp.concatenate([kept[i].reshape(-1, 2) for i, _ in pairs])
        now = advance_ratio(before, logs[of_matrix], logs[of_bias])
        sizes = sizes.at[of_matrix].set(log_size(now))
        ends = np.cumsum([copies[i] for i, _ in pairs])[:-1]
        for (i, _), ratio in zip(pairs, jnp.split(now, ends), strict=True):
            found[i] = ratio.reshape(kept[i].shape)
    return found, sizes
