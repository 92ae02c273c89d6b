"""Text as tokens on the device."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.data.tokens import TOKENIZERS


class Window(NamedTuple):
    """The part of a corpus that one run sees.

    Attributes:
      start: where it begins, as a fraction of the training text.
      fraction: its size; `start + fraction` is at most one.
    """

    start: Float[Array, ""]
    fraction: Float[Array, ""]

    def bounds(self, starts: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """The first of so many starts that the window has, and the one after its last."""
        first = jnp.minimum(jnp.floor(self.start * starts).astype(jnp.int32), starts - 1)
        seen = jnp.maximum(jnp.round(self.fraction * starts), 1).astype(jnp.int32)
        seen = jnp.where(self.fraction < 1, seen, starts)  # which float32 may round
        return first, first + jnp.minimum(seen, starts - first)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Corpus:
    """A text with a held-out part; a pytree, so that it enters a compiled step whole.

    Attributes:
      train: tokens that sequences are drawn from.
      test: held out.
      vocabulary: the number of tokens there are.
      characters_per_token: of the held-out text, for bits per character.
      source: where the text is from, in words, for the provenance of results.
    """

    train: Int[Array, " tokens"]
    test: Int[Array, " held_out"]
    vocabulary: int = field(metadata={"static": True})
    characters_per_token: float = field(metadata={"static": True})
    source: str = field(default="", metadata={"static": True})

    @classmethod
    def of(cls, train: str, test: str, tokens: str, source: str) -> "Corpus":
        """Tokenize a text and put it on the device.

        Args:
          train: the training text, which the tokenizer may learn its vocabulary from.
          test: the held-out text.
          tokens: a name in `TOKENIZERS`, with arguments.
          source: where the text is from, in words.

        Raises:
          UserError: for an unknown tokenizer, or a text without tokens.
        """
        train_ids, test_ids, vocabulary = build(TOKENIZERS, tokens)(train, test)
        if not len(train_ids) or not len(test_ids):
            raise UserError(f"too little text: {len(train)} characters, {len(test)} held out")
        return cls(
            jnp.asarray(train_ids),
            jnp.asarray(test_ids),
            vocabulary,
            len(test) / len(test_ids),
            source,
        )

    @property
    def view(self) -> Window:
        """All of it."""
        return Window(jnp.zeros(()), jnp.ones(()))

    def require(self, length: int) -> None:
        """Refuse sequences that the text is too short for.

        Raises:
          UserError: if a part has fewer than `length + 1` tokens.
        """
        for name, part in (("training", self.train), ("held-out", self.test)):
            if len(part) <= length:
                raise UserError(
                    f"a sequence of {length} is longer than the {name} text, which has "
                    f"{len(part)} tokens; take a shorter sequence or a larger size"
                )

    def sample(
        self, window: Window, key: Array, size: int, length: int
    ) -> Int[Array, "size length_and_one"]:
        """Sequences of `length` tokens and the one after them, from anywhere in the window."""
        first, end = window.bounds(len(self.train) - length)
        return _sequences(self.train, jax.random.randint(key, (size,), first, end), length)

    def held_out(self, length: int) -> Int[Array, "sequences length_and_one"]:
        """The held-out text cut into sequences, each of whose tokens is predicted once."""
        start = jnp.arange((len(self.test) - 1) // length) * length
        return _sequences(self.test, start, length)


def _sequences(text: Array, start: Int[Array, " size"], length: int) -> Array:
    return text[start[:, None] + jnp.arange(length + 1)].astype(jnp.int32)
