"""Recurrent language models: IRNN, GRU, LSTM."""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lopt.base.checks import require_positive, require_widths
from lopt.base.parts import Parts, build
from lopt.data import TEXTS
from lopt.tasks.language import LanguageModel
from lopt.tasks.task import Task


def irnn(width: int) -> nn.SimpleCell:
    """Rectified units; their matrix starts at the identity (Le et al., arXiv 1504.00941)."""
    return nn.SimpleCell(width, activation_fn=nn.relu, recurrent_kernel_init=_identity)


def orthogonal(key: Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> Array:
    """A random orthogonal matrix, as flax's cells have it, that vmaps one after the other."""
    # Matrices that are factorized together share the CPU's threads, and where several cells' wait
    # for each other no thread is left to work: on two cores jaxlib 0.10.2 then stands still.
    draw = nn.initializers.orthogonal()
    return jax.custom_batching.sequential_vmap(lambda key: draw(key, shape, dtype))(key)


CELLS = Parts(
    "cell",
    irnn=irnn,
    gru=partial(nn.GRUCell, recurrent_kernel_init=orthogonal),
    lstm=partial(nn.OptimizedLSTMCell, recurrent_kernel_init=orthogonal),
)
"""The recurrent cells by name, each made from its width."""


class RecurrentModel(nn.Module):
    """An embedding, layers of recurrent cells, a linear layer; see `rnn` for the attributes."""

    cell: str
    widths: Sequence[int]
    embedding: int
    vocabulary: int

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch length"]
    ) -> Float[Array, "batch length vocabulary"]:
        x = nn.Embed(self.vocabulary, self.embedding)(tokens)
        for width in self.widths:
            x = nn.RNN(CELLS[self.cell](width))(x)
        return nn.Dense(self.vocabulary)(x)


def rnn(
    data: str = "text",
    cell: str = "gru",
    widths: Sequence[int] = (32,),
    embedding: int = 16,
    length: int = 32,
    batch_size: int = 16,
) -> Task:
    """A recurrent language model.

    Args:
      data: a name in `lopt.data.TEXTS`, with arguments.
      cell: "irnn", "gru" or "lstm".
      widths: of the hidden state of each layer.
      embedding: the width of the embedding.
      length: predicted tokens of a sequence; the state starts at zero.
      batch_size: sequences per step.

    Raises:
      UserError: for an unknown text or cell, a size that is no positive integer, or a sequence
        longer than the text.
    """
    require_widths("rnn", widths)
    require_positive("rnn", embedding=embedding, length=length, batch_size=batch_size)
    _ = CELLS[cell]
    corpus = build(TEXTS, data)
    corpus.require(length)
    model = RecurrentModel(cell, tuple(widths), embedding, corpus.vocabulary)
    return LanguageModel(corpus, model, batch_size, length)


def _identity(key: Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> Array:
    del key
    rows, columns = shape
    return jnp.eye(rows, columns, dtype=jax.dtypes.canonicalize_dtype(dtype))
