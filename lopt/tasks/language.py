"""Language modelling with any flax module: each token is predicted from those before it."""

import math
from dataclasses import dataclass, field

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lopt.data import Corpus, Window
from lopt.tasks.held_out import Values, mean_over
from lopt.tasks.task import DataTask, Params, RunState

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
    def source(self) -> str:
        return self.corpus.source

    @property
    def view(self) -> Window:
        return self.corpus.view

    def init(self, key: Array) -> tuple[Params, RunState]:
        tokens = jnp.zeros((1, self.length), jnp.int32)
        return self.model.init(key, tokens)["params"], RunState(self.view, {})

    def batch(self, state: RunState, key: Array) -> Tokens:
        return self.corpus.sample(state.view, key, self.batch_size, self.length)

    def loss(
        self, params: Params, state: RunState, batch: Tokens, key: Array
    ) -> tuple[Float[Array, ""], RunState]:
        return self._losses(params, batch).mean(), state

    def evaluate(self, params: Params, state: RunState) -> dict[str, Float[Array, ""]]:
        def measure(sequences: Tokens) -> Values:
            return {"loss": self._losses(params, sequences).mean(1)}

        sequences = self.corpus.held_out(self.length)
        metrics = mean_over(measure, sequences, jnp.ones(len(sequences)))
        bits = metrics["loss"] / (math.log(2) * self.corpus.characters_per_token)
        return {**metrics, "bits_per_character": bits}

    def _losses(self, params: Params, tokens: Tokens) -> Float[Array, "batch length"]:
        logits = self.model.apply({"params": params}, tokens[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
