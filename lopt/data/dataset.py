"""Labelled arrays that a task draws from, resident on the device."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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


class View(NamedTuple):
    """The part of a `Dataset` that one run sees; a few numbers, so that runs share the arrays.

    Attributes:
      labels: one for each label that the run sees, zero for the others.
      start: where its part of each label's training examples begins, as a fraction of them.
      fraction: the size of that part; `start + fraction` is at most one.
      scale: what all inputs are multiplied by.
    """

    labels: Float[Array, " classes"]
    start: Float[Array, ""]
    fraction: Float[Array, ""]
    scale: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dataset:
    """A labelled set with a held-out split; a pytree, so that it enters a compiled step whole.

    Attributes:
      train: what batches are drawn from, sorted by label and in random order within a label.
      test: held out; no optimizer and no meta-training sees it.
      counts: how many training examples each label has.
      classes: the number of labels.
      source: where the data are from, in words, for the provenance of results.
    """

    train: Examples
    test: Examples
    counts: Int[Array, " classes"]
    classes: int = field(metadata={"static": True})
    source: str = field(default="", metadata={"static": True})

    @classmethod
    def of(
        cls,
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
        classes: int,
        source: str,
    ) -> "Dataset":
        """Put arrays on the device.

        Args:
          train: inputs (examples, ...) and labels (examples,) in random order.
          test: likewise.
          classes: the number of labels.
          source: where the data are from, in words.
        """
        order = np.argsort(train[1], kind="stable")
        return cls(
            _examples(train[0][order], train[1][order]),
            _examples(*test),
            jnp.asarray(np.bincount(train[1], minlength=classes), jnp.int32),
            classes,
            source,
        )

    @property
    def view(self) -> View:
        """All of it."""
        return View(jnp.ones(self.classes), jnp.zeros(()), jnp.ones(()), jnp.ones(()))

    def sample(self, view: View, key: Array, size: int) -> Examples:
        """A batch of `size` training examples that the view shows, drawn with replacement."""
        # one uniform number picks a label by its count, another an example of the part that is seen
        # of it, so that runs of other views have the same shapes, and vmap
        counts = view.labels * self.counts
        ends = jnp.cumsum(counts)
        which, where = jax.random.uniform(key, (2, size))
        label = jnp.sum(which[:, None] * ends[-1] >= ends, axis=1)
        label = jnp.minimum(label, self.classes - 1)  # the product may round up to the last end
        count = self.counts[label]
        first = jnp.floor(view.start * count)
        seen = jnp.maximum(jnp.round(view.fraction * count), 1)
        rank = jnp.minimum(first + jnp.floor(where * seen), count - 1).astype(jnp.int32)
        return _scaled(self.train[(jnp.cumsum(self.counts) - self.counts)[label] + rank], view)

    def held_out(self, view: View) -> tuple[Examples, Float[Array, " examples"]]:
        """The held-out split as the view scales it, and one for each example of a label seen."""
        return _scaled(self.test, view), view.labels[self.test.y]


def _examples(x: np.ndarray, y: np.ndarray) -> Examples:
    return Examples(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32))


def _scaled(examples: Examples, view: View) -> Examples:
    return Examples(view.scale * examples.x, examples.y)
