"""Image classification with any flax module."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lopt.data import DATASETS, Dataset, Examples
from lopt.errors import UserError
from lopt.tasks.task import Params, State, Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Classification(Task):
    """A flax module trained with cross-entropy.

    Attributes:
      dataset: what it is trained and evaluated on.
      model: maps (batch, ...) inputs to (batch, classes) logits.
      batch_size: examples per step, drawn with replacement.
    """

    dataset: Dataset
    model: nn.Module = field(metadata={"static": True})
    batch_size: int = field(default=64, metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, State]:  # noqa: D102
        state = dict(self.model.init(key, self.dataset.train.x[:1]))
        return state.pop("params"), state

    def batch(self, state: State, key: Array) -> Examples:  # noqa: D102
        train = self.dataset.train
        return train[jax.random.randint(key, (self.batch_size,), 0, len(train))]

    def loss(  # noqa: D102
        self, params: Params, state: State, batch: Examples, key: Array
    ) -> tuple[Float[Array, ""], State]:
        logits, state = self.model.apply({"params": params, **state}, batch.x, mutable=list(state))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.y)
        return losses.mean(), state

    def evaluate(self, params: Params, state: State) -> dict[str, Float[Array, ""]]:  # noqa: D102
        test = self.dataset.test
        logits = self.model.apply({"params": params, **state}, test.x)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, test.y)
        return {"loss": losses.mean(), "accuracy": jnp.mean(logits.argmax(-1) == test.y)}


class MLP(nn.Module):
    """Dense layers with rectifiers between them.

    Attributes:
      widths: the width of each hidden layer.
      classes: the number of logits.
    """

    widths: Sequence[int]
    classes: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch ..."]) -> Float[Array, "batch classes"]:
        """Logits of a batch."""
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.classes)(x)


def mlp(data: str = "digits", widths: Sequence[int] = (32,), batch_size: int = 64) -> Task:
    """An MLP classifier.

    Args:
      data: the name of a data set.
      widths: the width of each hidden layer.
      batch_size: examples per step.

    Raises:
      UserError: for an unknown data set, or a size that is no positive integer.
    """
    for size in (*widths, batch_size):
        if not isinstance(size, int) or size < 1:
            raise UserError(f"mlp: widths and batch_size must be positive integers, not {size!r}")
    dataset = DATASETS[data]()
    return Classification(dataset, MLP(tuple(widths), dataset.classes), batch_size)
