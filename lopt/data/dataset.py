"""The arrays that a task draws from, resident on the device."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Examples:
    """Inputs with integer labels.

    Attributes:
      x: (examples, ...) float inputs, standardized with the training split's statistics.
      y: (examples,) labels.
    """

    x: Float[Array, "examples ..."]
    y: Int[Array, " examples"]

    def __len__(self) -> int:
        return self.y.shape[0]

    def __getitem__(self, index: Int[Array, " batch"]) -> "Examples":
        return Examples(jnp.take(self.x, index, axis=0), jnp.take(self.y, index, axis=0))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dataset:
    """A labelled set with a held-out split; a pytree, so that it enters a compiled step whole.

    Attributes:
      train: what batches are drawn from.
      test: held out; no optimizer and no meta-training sees it.
      classes: the number of labels.
    """

    train: Examples
    test: Examples
    classes: int = field(metadata={"static": True})
