"""The network of "base": what it reads of each tensor, all of order one, and what it writes."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lopt.rules.matrices import KINDS, Matrix
from lopt.rules.units import root

_FADED = (10.0, 100.0)
"""Steps after which the features of a run's first steps have faded."""

_SIDE = 64
"""The size of a side whose feature is zero; sides from 3 to 1,300 have one from -1 to 1."""

_DEPTH = 8
"""The number of matrices whose feature is zero."""

_USUAL_LENGTH = 500
"""The length of a run whose feature is zero; those of meta-training are from 100 to 1,600."""

FEATURES = len(KINDS) + 4 + 4 + 4 + len(_FADED)
"""Features of a tensor: its kind and sizes, its values, and the time."""

STRENGTH, MATRIX_MIXTURE, POWER, VECTOR_MIXTURE = 0, slice(1, 3), 3, slice(4, 6)
"""The places of what the network writes for a tensor: the logarithm of its strength, the logits of
the mixture of a matrix, its power, and the logits of the mixture of a vector."""

OUTPUTS = 6


class TensorNetwork(nn.Module):
    r"""A perceptron with a linear part, for each tensor by itself.

    .. math:: z = c L + \sigma(c F + b) H

    with c the features and sigma the sigmoid linear unit. L and H start at zero, and so does z.

    Attributes:
      width: hidden units.
    """

    width: int

    @nn.compact
    def __call__(
        self, features: Float[Array, "tensors features"]
    ) -> Float[Array, "tensors outputs"]:
        """Map the features of each tensor to its outputs."""
        zeros = nn.initializers.zeros_init()
        fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        linear = self.param("linear", zeros, (FEATURES, OUTPUTS))
        readout = self.param("readout", zeros, (self.width, OUTPUTS))
        into = self.param("tensor", fan_in, (FEATURES, self.width))
        hidden = features @ into + self.param("tensor_bias", zeros, (self.width,))
        return features @ linear + nn.silu(hidden) @ readout


def statistics(
    gradient: Float[Array, "..."], momentum: Float[Array, "..."], weight: Float[Array, "..."]
) -> Float[Array, " 5"]:
    """The log root mean squares of the three, and the cosines of the first and last two.

    A signal's mean over a tensor is noise around zero where signs are random; its size, and its
    agreement with another signal, are not. All are zero where a signal is.
    """
    pairs = (
        (gradient, gradient),
        (momentum, momentum),
        (weight, weight),
        (gradient, momentum),
        (momentum, weight),
    )
    products = jnp.stack([a * b for a, b in pairs])
    if gradient.ndim:
        # In two steps: one sum over millions of floats loses digits.
        shortest = 1 + int(np.argmin(gradient.shape))
        rest = [k for k in range(1, products.ndim) if k != shortest]
        products = jnp.mean(jnp.mean(products, rest), 1)
    squares, mixed = products[:3], products[3:]
    positive = squares > 0
    logs = jnp.where(positive, 0.5 * jnp.log(jnp.where(positive, squares, 1)), 0)
    sizes = root(squares[:2] * squares[1:])
    cosines = jnp.where(sizes > 0, mixed / jnp.where(sizes > 0, sizes, 1), 0)
    return jnp.concatenate([logs, cosines])


def features(
    layout: Sequence[Matrix],
    found: Float[Array, "tensors statistics"],
    sizes: Float[Array, " tensors"],
    count: Int[Array, ""],
    length: Array | float,
) -> Float[Array, "tensors features"]:
    """The features of all tensors, one row for each matrix, also of those in a stack.

    Args:
      layout: of the tensors.
      found: their `statistics`.
      sizes: the log sizes of their inputs.
      count: steps, with this one.
      length: of the run.
    """
    depth = sum(matrix.copies for matrix in layout if matrix.inputs)
    static = np.repeat(
        np.array([_of_shape(matrix, depth) for matrix in layout], np.float32),
        [matrix.copies for matrix in layout],
        axis=0,
    )
    time = jnp.broadcast_to(_of_time(count, length), (len(static), 4 + len(_FADED)))
    return jnp.concatenate([static, _of_values(found, log_sums(layout, sizes)), time], 1)


def log_sums(layout: Sequence[Matrix], sizes: Float[Array, " tensors"]) -> Float[Array, " tensors"]:
    """The log roots of the sums of squared inputs, from the log sizes of these."""
    fan_in = np.repeat([m.fan_in for m in layout], [m.copies for m in layout])
    return sizes + 0.5 * np.log(fan_in).astype(np.float32)


def _of_shape(matrix: Matrix, depth: int) -> list[float]:
    """The kind, one-hot, the logarithms of the sizes, over a third, and that of the depth."""
    sides = matrix.sides if matrix.inputs else (_SIDE, _SIDE)
    sizes = [math.log(n / _SIDE) / 3 for n in sides]
    of_depth = math.log(max(1, depth) / _DEPTH) / 3
    return [
        *(float(matrix.kind == k) for k in KINDS),
        *sizes,
        math.log(matrix.spatial) / 3,
        of_depth,
    ]


def _of_values(
    found: Float[Array, "tensors statistics"], sums: Float[Array, " tensors"]
) -> Float[Array, "tensors 4"]:
    """The size of the weights, the noise of the gradients, and the cosines.

    Weights are relative to those whose outputs are of unit size. Noise is what the momentum is
    smaller by than the gradient.
    """
    gradient, momentum, weight, *cosines = found.T
    weight = jnp.clip(weight + sums, -4, 4)
    noise = jnp.clip(momentum - gradient, -4, 0)
    return jnp.stack([weight, noise, *cosines], 1)


def _of_time(count: Int[Array, ""], length: Array | float) -> Float[Array, " features"]:
    """The fraction of the run that is over, its beginning, its end, its first steps, its length.

    The fourth power is above a half in the first sixth of a run only, and the exponential in the
    last thirtieth: a linear map of them changes a run's ends and leaves what is between.
    """
    taken = count.astype(jnp.float32) - 1
    over = jnp.clip(taken / jnp.maximum(length, 1), 0, 1)
    size = (jnp.log(jnp.maximum(length, 1.0)) - math.log(_USUAL_LENGTH)) / 2
    faded = [jnp.exp(-taken / scale) for scale in _FADED]
    return jnp.stack([2 * over - 1, (1 - over) ** 4, jnp.exp(-20 * (1 - over)), *faded, size])
