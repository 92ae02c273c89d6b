"""Dense networks: a classifier and an autoencoder."""

import math
from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from lopt.data import DATASETS
from lopt.parts import build
from lopt.tasks.classification import Classification, Reconstruction
from lopt.tasks.task import Task, require_positive, require_widths


class MLP(nn.Module):
    """Dense layers with rectifiers between them.

    Attributes:
      widths: the width of each hidden layer.
      outputs: the width of the last layer.
    """

    widths: Sequence[int]
    outputs: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch ..."], train: bool = False
    ) -> Float[Array, "batch outputs"]:
        """Logits of a batch."""
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.outputs)(x)


class Autoencoder(nn.Module):
    """An MLP whose outputs have the shape of its inputs.

    Attributes:
      widths: the width of each hidden layer, the code's among them.
    """

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "batch ..."], train: bool = False) -> Array:
        """The reconstruction of a batch."""
        return MLP(self.widths, math.prod(x.shape[1:]))(x).reshape(x.shape)


def mlp(data: str = "digits", widths: Sequence[int] = (32,), batch_size: int = 64) -> Task:
    """An MLP classifier.

    Args:
      data: a name in `lopt.data.DATASETS`, with arguments.
      widths: the width of each hidden layer.
      batch_size: examples per step.

    Raises:
      UserError: for an unknown data set, or a size that is no positive integer.
    """
    require_widths("mlp", widths)
    require_positive("mlp", batch_size=batch_size)
    dataset = build(DATASETS, data)
    return Classification(dataset, MLP(tuple(widths), dataset.classes), batch_size)


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
