"""The block that transformers of text and of images are made of."""

import flax.linen as nn
from jaxtyping import Array, Bool, Float

from lopt.base.errors import UserError


class Block(nn.Module):
    """Self-attention and an MLP, each on the normalized stream and added to it ("pre-norm").

    Attributes:
      heads: attention heads; they divide the width of the stream.
    """

    heads: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch length width"], mask: Bool[Array, "..."] | None = None
    ) -> Float[Array, "batch length width"]:
        """The stream after the block; `mask` says who attends to whom."""
        width = x.shape[-1]
        x = x + nn.MultiHeadDotProductAttention(self.heads)(nn.LayerNorm()(x), mask=mask)
        hidden = nn.gelu(nn.Dense(4 * width)(nn.LayerNorm()(x)))
        return x + nn.Dense(width)(hidden)


def require_divisible(part: str, width: int, heads: int) -> None:
    """Raise a `UserError` if the heads do not divide the width."""
    if width % heads:
        raise UserError(f"{part}: heads must divide the width, and {heads} does not divide {width}")
