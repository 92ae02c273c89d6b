"""Dense networks: classifiers, plain and residual, and an autoencoder."""

import math
from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from lopt.base.checks import require_positive, require_widths
from lopt.base.parts import Parts, build
from lopt.data import DATASETS
from lopt.tasks.classification import Classification, Reconstruction
from lopt.tasks.task import Task

ACTIVATIONS = Parts("activation", relu=nn.relu, tanh=nn.tanh, gelu=nn.gelu, silu=nn.silu)
"""The non-linearities that a network of dense layers can name."""


class MLP(nn.Module):
    """Dense layers with a non-linearity, a name in `ACTIVATIONS`, between them."""

    widths: Sequence[int]
    outputs: int
    activation: str = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch ..."], train: bool = False
    ) -> Float[Array, "batch outputs"]:
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = ACTIVATIONS[self.activation](nn.Dense(width)(x))
        return nn.Dense(self.outputs)(x)


class ResidualMLP(nn.Module):
    """Blocks of two dense layers on the normalized stream, each added to it."""

    width: int
    depth: int
    outputs: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch ..."], train: bool = False
    ) -> Float[Array, "batch outputs"]:
        x = nn.Dense(self.width)(x.reshape(x.shape[0], -1))
        for _ in range(self.depth):
            hidden = nn.relu(nn.Dense(self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(hidden)
        return nn.Dense(self.outputs)(nn.LayerNorm()(x))


class Autoencoder(nn.Module):
    """An MLP whose outputs have the shape of its inputs; the code is among its hidden layers."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "batch ..."], train: bool = False) -> Array:
        return MLP(self.widths, math.prod(x.shape[1:]))(x).reshape(x.shape)


def mlp(
    data: str = "digits",
    widths: Sequence[int] = (32,),
    activation: str = "relu",
    batch_size: int = 64,
) -> Task:
    """An MLP classifier.

    Args:
      data: a name in `lopt.data.DATASETS`, with arguments.
      widths: the width of each hidden layer.
      activation: a name in `ACTIVATIONS`.
      batch_size: examples per step.

    Raises:
      UserError: for an unknown data set or activation, or a size that is not a positive integer.
    """
    require_widths("mlp", widths)
    require_positive("mlp", batch_size=batch_size)
    _ = ACTIVATIONS[activation]
    dataset = build(DATASETS, data)
    return Classification(dataset, MLP(tuple(widths), dataset.classes, activation), batch_size)


def residual_mlp(
    data: str = "digits", width: int = 32, depth: int = 3, batch_size: int = 64
) -> Task:
    """A classifier of residual blocks of dense layers, normalized first (He et al., 2016).

    Args:
      data: a name in `lopt.data.DATASETS`, with arguments.
      width: of the stream.
      depth: the number of blocks.
      batch_size: examples per step.

    Raises:
      UserError: for an unknown data set, or a size that is not a positive integer.
    """
    require_positive("residual_mlp", width=width, depth=depth, batch_size=batch_size)
    dataset = build(DATASETS, data)
    return Classification(dataset, ResidualMLP(width, depth, dataset.classes), batch_size)


def autoencoder(
    data: str = "photos", widths: Sequence[int] = (32, 8), batch_size: int = 64
) -> Task:
    """An autoencoder of dense layers (Hinton & Salakhutdinov, Science 2006).

    Args:
      data: a name in `lopt.data.DATASETS`, with arguments.
      widths: the width of each layer of the encoder, the code's last; the decoder mirrors them.
      batch_size: examples per step.

    Raises:
      UserError: for an unknown data set, or a size that is no positive integer.
    """
    require_widths("autoencoder", widths)
    require_positive("autoencoder", batch_size=batch_size)
    mirrored = (*widths, *reversed(tuple(widths)[:-1]))
    return Reconstruction(build(DATASETS, data), Autoencoder(mirrored), batch_size)
