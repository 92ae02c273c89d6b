"""What the network of a rule of gates reads of tensors and of time, all of order one."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.rules.direction import matrix_of
from lopt.rules.matrices import KINDS, Matrix

_FADED = (10.0, 100.0)
"""Steps after which the features of a run's first steps have faded."""

TIMES = 4 + len(_FADED)
"""Features of time."""


def time_features(count: Array, length: Array | float) -> Float[Array, " features"]:
    """Features of the steps taken, their share of the run and its length, of order one."""
    taken = count.astype(jnp.float32) - 1
    share = jnp.clip(taken / jnp.maximum(length, 1), 0, 1)
    size = (jnp.log(jnp.maximum(length, 1.0)) - math.log(500)) / 2
    faded = [jnp.exp(-taken / scale) for scale in _FADED]
    return jnp.stack([2 * share - 1, (1 - share) ** 4, jnp.exp(-20 * (1 - share)), *faded, size])


def static_features(matrix: Matrix, kind: str, depth: int) -> list[float]:
    """Features of a tensor's shape: its kind, one-hot, the logarithms of its sizes, and depth.

    Depth is how many matrices the model has.
    """
    kind = kind if matrix.inputs else "vector"
    sides = matrix_of(matrix.shape, matrix.inputs) if matrix.inputs else (64, 64)
    sizes = [math.log(n / 64) / 3 for n in sides]
    of_depth = math.log(max(1, depth) / 8) / 3
    return [*(float(kind == k) for k in KINDS), *sizes, math.log(matrix.spatial) / 3, of_depth]


def dynamic_features(
    found: Float[Array, "tensors statistics"], inputs: Float[Array, " tensors"], momenta: int
) -> Float[Array, "tensors features"]:
    """Features of each tensor's values: its weights, its noise, and others.

    Weights are relative to those whose outputs are of unit size, given the log root of the sum of
    squares of the inputs.
    """
    gradient, *of_momenta, weight = found.T[: momenta + 2]
    weight = jnp.clip(weight + inputs, -4, 4)
    noise = jnp.clip(of_momenta[momenta // 2] - gradient, -4, 0)
    return jnp.stack([weight, noise, *found.T[momenta + 2 :]], 1)
