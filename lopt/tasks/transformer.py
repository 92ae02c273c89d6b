"""Transformer language models: decoder-only, pre-norm."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float, Int

from lopt.base.checks import require_positive
from lopt.base.parts import build
from lopt.data import TEXTS
from lopt.tasks.attention import Block, require_divisible
from lopt.tasks.language import LanguageModel
from lopt.tasks.task import Task


class Transformer(nn.Module):
    """Embedded tokens with learned positions, causal pre-norm blocks, a linear layer.

    Attributes:
      vocabulary: the number of tokens.
      width: of the stream.
      depth: the number of blocks.
      heads: attention heads of each block.
    """

    vocabulary: int
    width: int
    depth: int
    heads: int

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch length"]
    ) -> Float[Array, "batch length vocabulary"]:
        """Logits of the token after each."""
        initial = nn.initializers.normal(0.02)
        x = nn.Embed(self.vocabulary, self.width)(tokens)
        x = x + self.param("positions", initial, x.shape[1:])
        mask = nn.make_causal_mask(tokens)
        for _ in range(self.depth):
            x = Block(self.heads)(x, mask)
        return nn.Dense(self.vocabulary)(nn.LayerNorm()(x))


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
    require_divisible("transformer", width, heads)
    corpus = build(TEXTS, data)
    corpus.require(length)
    return LanguageModel(corpus, Transformer(corpus.vocabulary, **sizes), batch_size, length)
