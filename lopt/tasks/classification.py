"""Image tasks of any flax module: classification, and the inputs as their own targets."""

from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lopt.data import Dataset, Examples, View
from lopt.tasks.held_out import Values, mean_over
from lopt.tasks.task import DataTask, Params, RunState


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

    def measure(self, outputs: Float[Array, "batch ..."], batch: Examples) -> Values:
        """The `"loss"` of each example, and other metrics of each."""
        raise NotImplementedError

    @property
    def source(self) -> str:
        return self.dataset.source

    @property
    def view(self) -> View:
        return self.dataset.view

    def init(self, key: Array) -> tuple[Params, RunState]:
        variables = dict(self.model.init(key, self.dataset.train.x[:1], train=False))
        return variables.pop("params"), RunState(self.view, variables)

    def batch(self, state: RunState, key: Array) -> Examples:
        return self.dataset.sample(state.view, key, self.batch_size)

    def loss(
        self, params: Params, state: RunState, batch: Examples, key: Array
    ) -> tuple[Float[Array, ""], RunState]:
        applied: Any = self.model.apply(
            {"params": params, **state.variables},
            batch.x,
            train=True,
            mutable=list(state.variables),
        )
        outputs, variables = applied
        return self.measure(outputs, batch)["loss"].mean(), state._replace(variables=variables)

    def evaluate(self, params: Params, state: RunState) -> dict[str, Float[Array, ""]]:
        def measure(examples: Examples) -> Values:
            outputs: Any = self.model.apply(
                {"params": params, **state.variables}, examples.x, train=False
            )
            return self.measure(outputs, examples)

        return mean_over(measure, *self.dataset.held_out(state.view))


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
