"""The common part of tasks that train a flax module on data: state, loss and metrics of a run."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lopt.data import Corpus, Dataset
from lopt.tasks.task import Batch, Params, Task

Values = dict[str, Float[Array, "examples ..."]]
"""Metrics of each example, by name; they are averaged over further axes."""


class RunState(NamedTuple):
    """The state of a run of a task with data.

    Attributes:
      view: what the run sees of the data.
      variables: the model's collections beside its params, such as batch statistics.
    """

    view: Any
    variables: dict[str, Any]


class DataTask(Task):
    """A flax module that is trained on data; its state is a `RunState`.

    A subclass is a registered dataclass, and says how batches are drawn, read and measured.

    Attributes:
      model: the module, a static field of the subclass.
    """

    model: nn.Module

    @property
    @abc.abstractmethod
    def data(self) -> Dataset | Corpus:
        """The data of training and evaluation, a field of the subclass."""

    @abc.abstractmethod
    def example(self) -> Batch:
        """A batch whose shapes decide those of the params."""

    @abc.abstractmethod
    def call(self, method: Callable, first: Any, batch: Batch, train: bool, **options: Any) -> Any:
        """Call the module's `init` or `apply` with its first argument and a batch's inputs."""

    @abc.abstractmethod
    def measure(self, outputs: Array, batch: Batch) -> Values:
        """The `"loss"` of each example, and other metrics of each."""

    @abc.abstractmethod
    def held_out(self, state: RunState) -> tuple[Batch, Float[Array, " examples"]]:
        """The held-out examples, and their weights in the means."""

    @property
    def source(self) -> str:
        return self.data.source

    @property
    def view(self) -> Any:
        return self.data.view

    def see(self, state: RunState, change: Callable[[Any], Any]) -> RunState:
        return state._replace(view=change(state.view))

    def init(self, key: Array) -> tuple[Params, RunState]:
        variables = dict(self.call(self.model.init, key, self.example(), train=False))
        return variables.pop("params"), RunState(self.view, variables)

    def loss(
        self, params: Params, state: RunState, batch: Batch, key: Array
    ) -> tuple[Float[Array, ""], RunState]:
        variables, mutable = {"params": params, **state.variables}, list(state.variables)
        outputs, changed = self.call(self.model.apply, variables, batch, True, mutable=mutable)
        loss = self.measure(outputs, batch)["loss"].mean()
        return loss, state._replace(variables=changed)

    def evaluate(self, params: Params, state: RunState) -> dict[str, Float[Array, ""]]:
        variables = {"params": params, **state.variables}

        def measure(batch: Batch) -> Values:
            return self.measure(self.call(self.model.apply, variables, batch, False), batch)

        return mean_over(measure, *self.held_out(state))


def mean_over(
    measure: Callable[[PyTree[Array]], Values],
    examples: PyTree[Array],
    weights: Float[Array, " examples"],
    chunk: int = 64,
) -> dict[str, Float[Array, ""]]:
    """Weighted means of what is measured of each example, `chunk` examples at a time.

    The chunk bounds the memory, of which an evaluation of many runs at once needs that many times
    more.
    """
    number = len(weights)
    chunk = min(chunk, number)
    chunks = -(-number // chunk)

    def cut(x: Array) -> Array:
        padding = [(0, chunks * chunk - number)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, padding).reshape(chunks, chunk, *x.shape[1:])

    def total(part: tuple[PyTree[Array], Array]) -> dict[str, Array]:
        examples, weights = part

        def sum_of(values: Array) -> Array:
            values = values.reshape(len(weights), -1).mean(1)
            # zero times a loss that has diverged would be NaN
            return jnp.sum(jnp.where(weights > 0, weights * values, 0.0))

        return jax.tree.map(sum_of, measure(examples))

    totals = jax.lax.map(total, jax.tree.map(cut, (examples, weights)))
    return jax.tree.map(lambda t: t.sum() / weights.sum(), totals)
