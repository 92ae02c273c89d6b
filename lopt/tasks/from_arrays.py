"""A user-defined task, from functions and arrays."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lopt.base.checks import FUNCTION, SIZE
from lopt.base.errors import UserError, user_errors
from lopt.tasks.task import Batch, Params, State, Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ArraysTask(Task):
    """A model's loss on batches of arrays; see `from_arrays`.

    Attributes:
      data: what batches are drawn from.
      held_out: what is evaluated on.
      init_params: key -> fresh params.
      batch_loss: (params, batch) -> mean loss.
      batch_size: examples per step, drawn with replacement.
    """

    data: PyTree[Array]
    held_out: PyTree[Array]
    init_params: Callable[[Array], Params] = field(metadata={"static": True})
    batch_loss: Callable[[Params, Batch], Array] = field(metadata={"static": True})
    batch_size: int = field(default=64, metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, State]:
        return self.init_params(key), ()

    def batch(self, state: State, key: Array) -> Batch:
        examples = jax.random.randint(key, (self.batch_size,), 0, _examples(self.data))
        return jax.tree.map(lambda x: x[examples], self.data)

    def loss(
        self, params: Params, state: State, batch: Batch, key: Array
    ) -> tuple[Float[Array, ""], State]:
        return self.batch_loss(params, batch), state

    def evaluate(self, params: Params, state: State) -> dict[str, Float[Array, ""]]:
        return {"loss": self.batch_loss(params, self.held_out)}


def from_arrays(
    init: Callable[[Array], Params],
    loss: Callable[[Params, Batch], Array],
    data: PyTree[Array],
    held_out: PyTree[Array] | None = None,
    batch_size: int = 64,
) -> ArraysTask:
    """A user-defined task: a model's parameters, its loss, and arrays of examples.

    Args:
      init: key -> fresh params.
      loss: (params, batch) -> the mean loss of a batch, which has the structure of `data`.
      data: arrays, or a pytree of them, with the examples along their first axis.
      held_out: likewise, evaluated in one call of `loss`; by default the data themselves.
      batch_size: examples per step, drawn with replacement.

    Raises:
      UserError: for functions that are none, or a batch size that is no positive integer; if the
        arrays are not of one number of examples.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> x = jnp.linspace(-1, 1, 50)[:, None]
      >>> task = from_arrays(
      ...     lambda key: {"w": jax.random.normal(key, (1, 1))},
      ...     lambda params, batch: jnp.mean((batch[0] @ params["w"] - batch[1]) ** 2),
      ...     data=(x, 3 * x),
      ... )
      >>> params, state = task.init(jax.random.key(0))
      >>> sorted(task.evaluate(params, state))
      ['loss']
    """
    init, loss = FUNCTION("from_arrays: init", init), FUNCTION("from_arrays: loss", loss)
    batch_size = SIZE("from_arrays: batch_size", batch_size)
    data = _arrays("data", data)
    held_out = data if held_out is None else _arrays("held_out", held_out)
    return ArraysTask(data, held_out, init, loss, batch_size)


def _arrays(name: str, given: PyTree[Any]) -> PyTree[Array]:
    with user_errors(f"from_arrays: {name} must be arrays, or a pytree of them"):
        arrays = jax.tree.map(jnp.asarray, given)
    _examples(arrays, name)
    return arrays


def _examples(arrays: PyTree[Array], name: str = "data") -> int:
    numbers = {x.shape[0] if x.ndim else -1 for x in jax.tree.leaves(arrays)}
    if len(numbers) != 1 or -1 in numbers:
        raise UserError(
            f"from_arrays: all arrays of {name} must have the same number of examples along their "
            "first axis"
        )
    return numbers.pop()
