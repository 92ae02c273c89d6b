"""Inner tasks: a model, its loss and its data, as one pytree."""

import abc
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lopt.base.errors import UserError
from lopt.symmetry import PermutationSpec, infer_spec

Params = PyTree[Array]
State = PyTree[Array]
Batch = PyTree[Array]


class Task(abc.ABC):
    """Something for an optimizer to train.

    A task is a registered dataclass: its arrays are leaves, so that data enter a compiled step as
    an argument, and everything else is static. Methods are pure and can be vmapped over keys.
    """

    @abc.abstractmethod
    def init(self, key: Array) -> tuple[Params, State]:
        """Fresh params, and the run's state: batch statistics and the like, often empty.

        The state of a family of tasks holds what it drew for this run.
        """

    @abc.abstractmethod
    def batch(self, state: State, key: Array) -> Batch:
        """A random batch of the training split; `state` may say which part of it a run sees."""

    @abc.abstractmethod
    def loss(
        self, params: Params, state: State, batch: Batch, key: Array
    ) -> tuple[Float[Array, ""], State]:
        """The mean loss over a batch, and the next state; `key` is for dropout and the like."""

    @abc.abstractmethod
    def evaluate(self, params: Params, state: State) -> dict[str, Float[Array, ""]]:
        """Metrics over the whole held-out split, `"loss"` always among them."""

    @cached_property
    def spec(self) -> PermutationSpec:
        """The neuron groups of the params, inferred from the loss."""
        key = jax.random.key(0)
        params, state = jax.eval_shape(self.init, key)
        batch = jax.eval_shape(self.batch, state, key)

        def loss(params: Params, state: State, batch: Batch, key: Array) -> Any:
            return self.loss(params, state, batch, key)[0]

        return infer_spec(loss, params, state, batch, key)

    @property
    def source(self) -> str:
        """The origin of the data, in words, for the provenance of results; may be empty."""
        return ""

    @property
    def view(self) -> Any:
        """The part of the data that a run sees unless a family changes it; None without data."""
        return None

    def see(self, state: State, change: Callable[[Any], Any]) -> State:
        """The state of a run that sees `change(view)` where it saw `view`."""
        raise UserError(f"{type(self).__name__} has no data to see a part of")


def initial_loss(task: Task, runs: int = 8) -> Float[Array, ""]:
    """The mean loss of fresh params, over some runs; one that is not finite is refused."""
    mean = jnp.mean(_initial_losses(task, jax.random.split(jax.random.key(0), runs)))
    if not jnp.isfinite(mean):
        raise UserError(f"the task's loss is {mean} at the start; check its data and its scale")
    return mean


@jax.jit
def _initial_losses(task: Task, keys: Array) -> Float[Array, " runs"]:
    def loss(key: Array) -> Float[Array, ""]:
        params, state = task.init(key)
        return task.loss(params, state, task.batch(state, key), key)[0]

    return jax.vmap(loss)(keys)
