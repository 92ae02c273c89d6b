"""Image tasks of any flax module: classification, and the inputs as their own targets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lopt.data import Dataset, Examples
from lopt.tasks.data_task import DataTask, RunState, Values


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ImageTask(DataTask):
    """A flax module on labelled images.

    Attributes:
      dataset: what it is trained and evaluated on.
      model: `model(x, train)` maps (batch, ...) inputs to outputs.
      batch_size: examples per step, drawn with replacement.
    """

    dataset: Dataset
    model: nn.Module = field(metadata={"static": True})
    batch_size: int = field(default=64, metadata={"static": True})

    @property
    def data(self) -> Dataset:
        return self.dataset

    def example(self) -> Examples:
        return self.dataset.train[jnp.zeros(1, int)]

    def batch(self, state: RunState, key: Array) -> Examples:
        return self.dataset.sample(state.view, key, self.batch_size)

    def held_out(self, state: RunState) -> tuple[Examples, Float[Array, " examples"]]:
        return self.dataset.held_out(state.view)

    def call(
        self, method: Callable, first: Any, batch: Examples, train: bool, **options: Any
    ) -> Any:
        return method(first, batch.x, train=train, **options)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Classification(ImageTask):
    """A flax module trained with cross-entropy; see `ImageTask` for the attributes.

    Held-out metrics are `"loss"` and `"accuracy"`.
    """

    def measure(self, outputs: Float[Array, "batch classes"], batch: Examples) -> Values:
        return {
            "loss": optax.softmax_cross_entropy_with_integer_labels(outputs, batch.y),
            "accuracy": (outputs.argmax(-1) == batch.y).astype(outputs.dtype),
        }


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Reconstruction(ImageTask):
    """A flax module trained to give its input back; see `ImageTask` for the attributes.

    The loss is the mean squared error, of inputs that have about unit variance.
    """

    def measure(self, outputs: Float[Array, "batch ..."], batch: Examples) -> Values:
        error = jnp.square(outputs - batch.x)
        return {"loss": error.mean(range(1, error.ndim))}
