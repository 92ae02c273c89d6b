"""Language modelling with any flax module: each token is predicted from those before it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lopt.data import Corpus
from lopt.tasks.data_task import DataTask, RunState, Values
from lopt.tasks.task import Params

Tokens = Int[Array, "batch length_and_one"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LanguageModel(DataTask):
    """A flax module trained to predict the next token, with cross-entropy in nats.

    Held-out metrics are `"loss"`, per token, and `"bits_per_character"`.

    Attributes:
      corpus: what it is trained and evaluated on.
      model: maps (batch, length) tokens to (batch, length, vocabulary) logits.
      batch_size: sequences per step.
      length: predicted tokens of a sequence.
    """

    corpus: Corpus
    model: nn.Module = field(metadata={"static": True})
    batch_size: int = field(default=16, metadata={"static": True})
    length: int = field(default=32, metadata={"static": True})

    @property
    def data(self) -> Corpus:
        return self.corpus

    def example(self) -> Tokens:
        return jnp.zeros((1, self.length + 1), jnp.int32)

    def batch(self, state: RunState, key: Array) -> Tokens:
        return self.corpus.sample(state.view, key, self.batch_size, self.length)

    def held_out(self, state: RunState) -> tuple[Tokens, Float[Array, " sequences"]]:
        sequences = self.corpus.held_out(self.length)
        return sequences, jnp.ones(len(sequences))

    def call(self, method: Callable, first: Any, batch: Tokens, train: bool, **options: Any) -> Any:
        return method(first, batch[:, :-1], **options)

    def measure(self, outputs: Float[Array, "batch length vocabulary"], batch: Tokens) -> Values:
        return {"loss": optax.softmax_cross_entropy_with_integer_labels(outputs, batch[:, 1:])}

    def evaluate(self, params: Params, state: RunState) -> dict[str, Float[Array, ""]]:
        metrics = super().evaluate(params, state)
        bits = metrics["loss"] / (math.log(2) * self.corpus.characters_per_token)
        return {**metrics, "bits_per_character": bits}
