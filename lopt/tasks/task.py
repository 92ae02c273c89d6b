"""What an inner task is: a model, its loss and its data, as one pytree."""

import abc
from functools import cached_property
from typing import Any

import jax
from jaxtyping import Array, Float, PyTree

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

        A family of tasks keeps in the state what it drew for this run.
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
