"""Families of what a run sees of its data: labels, examples, their scale, their noise."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lopt.base.checks import SIZE, sequence
from lopt.base.errors import UserError
from lopt.data import Examples, View, Window
from lopt.tasks.classification import Reconstruction
from lopt.tasks.families.family import (
    DrawingFamily,
    Drawn,
    Family,
    Range,
    Varied,
    log_uniform,
    require_range,
    uniform,
    varied_by,
    vary,
)
from lopt.tasks.task import Params, State, Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LabelSubset(Family):
    """Each run sees the examples, held-out ones too, of a random set of labels.

    Labels keep their numbers, so that models keep their shape.

    Attributes:
      labels: the least and the greatest number of labels.
    """

    labels: tuple[int, int] = field(metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, State]:
        init_key, number_key, rank_key = jax.random.split(key, 3)
        params, state = self.task.init(init_key)
        low, high = self.labels
        number = jax.random.randint(number_key, (), low, high + 1)

        def choose(view: View) -> View:
            order = jnp.where(view.labels > 0, jax.random.uniform(rank_key, view.labels.shape), 2.0)
            chosen = jnp.argsort(jnp.argsort(order)) < number
            return view._replace(labels=view.labels * chosen)

        return params, self.task.see(state, choose)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class DataSubset(Family):
    """Each run trains on a random part of the examples of each label, or of the text.

    Attributes:
      fraction: the least and the greatest one; log-uniform.
    """

    fraction: Range = field(metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, State]:
        init_key, fraction_key, start_key = jax.random.split(key, 3)
        params, state = self.task.init(init_key)
        fraction = log_uniform(fraction_key, self.fraction)
        start = (1 - fraction) * jax.random.uniform(start_key)

        def narrow(view: View | Window) -> View | Window:
            return view._replace(
                start=view.start + view.fraction * start, fraction=view.fraction * fraction
            )

        return params, self.task.see(state, narrow)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class InputScale(Family):
    """Each run sees all inputs, held-out ones too, multiplied by a random factor.

    Attributes:
      scale: the least and the greatest factor; log-uniform.
    """

    scale: Range = field(metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, State]:
        init_key, scale_key = jax.random.split(key)
        params, state = self.task.init(init_key)
        scale = log_uniform(scale_key, self.scale)
        return params, self.task.see(state, lambda view: view._replace(scale=view.scale * scale))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LabelNoise(DrawingFamily):
    """Each run gives a random fraction of its training examples another example's label.

    It is drawn again in each batch, from the batch's own labels; held-out labels are true.

    Attributes:
      share: the least and the greatest fraction of noisy labels.
    """

    share: Range = field(metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, Drawn]:
        init_key, share_key = jax.random.split(key)
        params, state = self.task.init(init_key)
        return params, Drawn(uniform(share_key, self.share), state)

    def batch(self, state: Drawn, key: Array) -> Examples:
        batch_key, noisy_key, other_key = jax.random.split(key, 3)
        batch: Examples = self.task.batch(state.state, batch_key)
        noisy = jax.random.bernoulli(noisy_key, state.value, batch.y.shape)
        other = jax.random.permutation(other_key, batch.y)
        return Examples(batch.x, jnp.where(noisy, other, batch.y))


def label_subset(task: Varied = "mlp", labels: tuple[int, int] = (2, 10)) -> Task:
    """A family whose runs see random sets of labels; see `LabelSubset`.

    Args:
      task: what it varies: a task, or its text such as `"cnn(widths=(8,))"`.
      labels: the least and the greatest number of labels.

    Raises:
      UserError: for a task without labels, or a range that its labels do not allow.
    """
    task = vary("label_subset", task, "labels")
    low, high = require_range("label_subset", "labels", labels, 1, task.view.labels.size)
    low, high = sequence(SIZE)("label_subset: labels", (low, high))
    return LabelSubset(task, (low, high))


def data_subset(task: Varied = "mlp", fraction: Range = (0.1, 1.0)) -> Task:
    """A family whose runs train on random parts of the data; see `DataSubset`.

    Args:
      task: what it varies: a task, or its text such as `"rnn(cell='lstm')"`.
      fraction: the least and the greatest one.

    Raises:
      UserError: for a task without data, or a range that is not one of positive fractions.
    """
    task = vary("data_subset", task, "fraction")
    return DataSubset(task, require_range("data_subset", "fraction", fraction, 1e-6, 1))


def input_scale(task: Varied = "mlp", scale: Range = (0.3, 3.0)) -> Task:
    """A family whose runs see scaled inputs; see `InputScale`.

    Args:
      task: what it varies: a task, or its text such as `"cnn(widths=(8,))"`.
      scale: the least and the greatest factor.

    Raises:
      UserError: for a task without real inputs, or a range that is not positive.
    """
    task = vary("input_scale", task, "scale")
    return InputScale(task, require_range("input_scale", "scale", scale, 1e-6))


def label_noise(task: Varied = "mlp", share: Range = (0.0, 0.5)) -> Task:
    """A family whose runs have noisy labels; see `LabelNoise`.

    Args:
      task: what it varies: a task, or its text such as `"cnn(widths=(8,))"`.
      share: the least and the greatest fraction of noisy labels.

    Raises:
      UserError: for a task without labels, or a range that is not one of fractions.
    """
    task = vary("label_noise", task, "labels")
    if isinstance(varied_by(task), Reconstruction):
        raise UserError("label_noise: the task in it predicts no labels; take a classifier")
    return LabelNoise(task, require_range("label_noise", "share", share, 0, 1))
