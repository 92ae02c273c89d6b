"""Vision transformers (Dosovitskiy et al., arXiv 2010.11929)."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from lopt.base.checks import require_positive
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.data import DATASETS
from lopt.tasks.attention import Block, require_divisible
from lopt.tasks.classification import Classification
from lopt.tasks.task import Task


class ViT(nn.Module):
    """Patches as tokens, pre-norm blocks, the mean over patches, a linear layer.

    Attributes:
      patch: the side of a patch.
      width: of the stream.
      depth: the number of blocks.
      heads: attention heads of each block.
      classes: the number of logits.
    """

    patch: int
    width: int
    depth: int
    heads: int
    classes: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch."""
        size = (self.patch, self.patch)
        x = nn.Conv(self.width, size, size, padding="VALID", name="patches")(x)
        x = x.reshape(x.shape[0], -1, self.width)
        initial = nn.initializers.normal(0.02)
        x = x + self.param("positions", initial, x.shape[1:])
        for _ in range(self.depth):
            x = Block(self.heads)(x)
        return nn.Dense(self.classes)(nn.LayerNorm()(x).mean(1))


def vit(
    data: str = "digits",
    patch: int = 2,
    width: int = 16,
    depth: int = 2,
    heads: int = 2,
    batch_size: int = 64,
) -> Task:
    """A vision transformer.

    Args:
      data: a name in `lopt.data.DATASETS`, with arguments.
      patch: the side of a patch; it divides the side of the images.
      width: of the stream.
      depth: the number of blocks.
      heads: attention heads of each block; they divide the width.
      batch_size: examples per step.

    Raises:
      UserError: for an unknown data set, a size that is no positive integer, a patch that does
        not divide the side, or heads that do not divide the width.
    """
    sizes: dict[str, Any] = {"patch": patch, "width": width, "depth": depth, "heads": heads}
    require_positive("vit", **sizes, batch_size=batch_size)
    require_divisible("vit", width, heads)
    dataset = build(DATASETS, data)
    for side in dataset.train.x.shape[1:3]:
        if side % patch:
            divisors = [d for d in range(1, side + 1) if side % d == 0]
            raise UserError(
                f"vit: a patch of {patch} does not divide the side {side} of {data}; "
                f"take one of {', '.join(map(str, divisors))}"
            )
    return Classification(dataset, ViT(**sizes, classes=dataset.classes), batch_size)
