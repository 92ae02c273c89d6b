"""Convolutional classifiers: plain, with batch normalization, residual."""

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from lopt.base.checks import require_positive, require_widths
from lopt.base.errors import UserError
from lopt.base.parts import Parts, build
from lopt.data import DATASETS
from lopt.tasks.classification import Classification
from lopt.tasks.task import Task

Images = Float[Array, "batch height width channels"]


class Block(nn.Module):
    """A block of a CNN; those derived from it say what is in it. A stride of 2 halves the side."""

    width: int
    stride: int = 1


class PlainBlock(Block):
    """A 3×3 convolution and a rectifier."""

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Images:
        return nn.relu(_conv(self.width, self.stride)(x))


class BatchNormBlock(Block):
    """A 3×3 convolution, batch normalization (Ioffe & Szegedy, arXiv 1502.03167), a rectifier."""

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Images:
        x = _conv(self.width, self.stride, use_bias=False)(x)
        return nn.relu(_batch_norm(train)(x))


class ResidualBlock(Block):
    """Two 3×3 convolutions with batch normalization, and their input added (arXiv 1512.03385).

    Where the shape changes, a 1×1 convolution fits the input.
    """

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Images:
        y = _conv(self.width, self.stride, use_bias=False)(x)
        y = nn.relu(_batch_norm(train)(y))
        y = _batch_norm(train)(_conv(self.width, use_bias=False)(y))
        if x.shape != y.shape:
            stride = (self.stride, self.stride)
            x = nn.Conv(self.width, (1, 1), stride, use_bias=False, name="shortcut")(x)
        return nn.relu(x + y)


BLOCKS = Parts("block", Block, plain=PlainBlock, batchnorm=BatchNormBlock, residual=ResidualBlock)
"""The blocks that a CNN is made of."""


class CNN(nn.Module):
    """Blocks, each but the first halving the side; the mean over space; a linear layer."""

    block: str
    widths: Sequence[int]
    classes: int

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "batch classes"]:
        for i, width in enumerate(self.widths):
            x = BLOCKS[self.block](width, stride=2 if i else 1)(x, train)
        return nn.Dense(self.classes)(x.mean((1, 2)))


def cnn(
    data: str = "digits",
    block: str = "plain",
    widths: Sequence[int] = (16, 32),
    batch_size: int = 64,
) -> Task:
    """A convolutional classifier.

    Args:
      data: a name in `lopt.data.DATASETS`, with arguments.
      block: what it is made of: "plain", "batchnorm" or "residual".
      widths: the channels of each block; each block but the first halves the side.
      batch_size: examples per step.

    Raises:
      UserError: for an unknown data set or block, a size that is no positive integer, or more
        halvings than the side of the images allows.
    """
    require_widths("cnn", widths)
    require_positive("cnn", batch_size=batch_size)
    _ = BLOCKS[block]
    dataset = build(DATASETS, data)
    side = min(dataset.train.x.shape[1:3])
    if side < 2 ** (len(widths) - 1):
        raise UserError(
            f"cnn: {len(widths)} blocks halve the side {len(widths) - 1} times, and images of "
            f"{data} have a side of {side}; take at most {side.bit_length()} widths"
        )
    return Classification(dataset, CNN(block, tuple(widths), dataset.classes), batch_size)


def _conv(width: int, stride: int = 1, use_bias: bool = True) -> nn.Conv:
    return nn.Conv(width, (3, 3), (stride, stride), use_bias=use_bias)


def _batch_norm(train: bool) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=not train, momentum=0.9)
