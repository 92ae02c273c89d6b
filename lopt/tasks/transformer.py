"""Transformers: of text, decoder-only, and of images; both are pre-norm."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Bool, Float, Int

from lopt.base.checks import require_positive
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.data import DATASETS, TEXTS
from lopt.tasks.classification import Classification
from lopt.tasks.language import LanguageModel
from lopt.tasks.task import Task

_POSITIONS = nn.initializers.normal(0.02)  # of learned positions, as in BERT and GPT-2


class Block(nn.Module):
    """Self-attention and an MLP, each on the normalized stream and added to it ("pre-norm")."""

    heads: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch length width"], mask: Bool[Array, "..."] | None = None
    ) -> Float[Array, "batch length width"]:
        width = x.shape[-1]
        x = x + nn.MultiHeadDotProductAttention(self.heads)(nn.LayerNorm()(x), mask=mask)
        hidden = nn.gelu(nn.Dense(4 * width)(nn.LayerNorm()(x)))
        return x + nn.Dense(width)(hidden)


class Transformer(nn.Module):
    """Embedded tokens with learned positions, causal blocks, a linear layer; see `transformer`."""

    vocabulary: int
    width: int
    depth: int
    heads: int

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch length"]
    ) -> Float[Array, "batch length vocabulary"]:
        x = nn.Embed(self.vocabulary, self.width)(tokens)
        x = x + self.param("positions", _POSITIONS, x.shape[1:])
        mask = nn.make_causal_mask(tokens)
        for _ in range(self.depth):
            x = Block(self.heads)(x, mask)
        return nn.Dense(self.vocabulary)(nn.LayerNorm()(x))


class ViT(nn.Module):
    """Patches as tokens, pre-norm blocks, the mean over patches, a linear layer; see `vit`."""

    patch: int
    width: int
    depth: int
    heads: int
    classes: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        size = (self.patch, self.patch)
        x = nn.Conv(self.width, size, size, padding="VALID", name="patches")(x)
        x = x.reshape(x.shape[0], -1, self.width)
        x = x + self.param("positions", _POSITIONS, x.shape[1:])
        for _ in range(self.depth):
            x = Block(self.heads)(x)
        return nn.Dense(self.classes)(nn.LayerNorm()(x).mean(1))


def transformer(
    data: str = "text",
    width: int = 32,
    depth: int = 2,
    heads: int = 4,
    length: int = 32,
    batch_size: int = 16,
) -> Task:
    """A decoder-only transformer language model (Vaswani et al., arXiv 1706.03762).

    Args:
      data: a name in `lopt.data.TEXTS`, with arguments.
      width: of the stream.
      depth: the number of blocks.
      heads: attention heads of each block; they divide the width.
      length: predicted tokens of a sequence.
      batch_size: sequences per step.

    Raises:
      UserError: for an unknown text, a size that is no positive integer, heads that do not
        divide the width, or a sequence longer than the text.
    """
    sizes: dict[str, Any] = {"width": width, "depth": depth, "heads": heads}
    require_positive("transformer", **sizes, length=length, batch_size=batch_size)
    _require_divisible("transformer", width, heads)
    corpus = build(TEXTS, data)
    corpus.require(length)
    return LanguageModel(corpus, Transformer(corpus.vocabulary, **sizes), batch_size, length)


def vit(
    data: str = "digits",
    patch: int = 2,
    width: int = 16,
    depth: int = 2,
    heads: int = 2,
    batch_size: int = 64,
) -> Task:
    """A vision transformer (Dosovitskiy et al., arXiv 2010.11929).

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
    _require_divisible("vit", width, heads)
    dataset = build(DATASETS, data)
    for side in dataset.train.x.shape[1:3]:
        if side % patch:
            divisors = [d for d in range(1, side + 1) if side % d == 0]
            raise UserError(
                f"vit: a patch of {patch} does not divide the side {side} of {data}; "
                f"take one of {', '.join(map(str, divisors))}"
            )
    return Classification(dataset, ViT(**sizes, classes=dataset.classes), batch_size)


def _require_divisible(part: str, width: int, heads: int) -> None:
    if width % heads:
        raise UserError(f"{part}: heads must divide the width, and {heads} does not divide {width}")
