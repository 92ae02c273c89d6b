"""An external task, or a family of them, as a task of this package."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.base.checks import require_positive
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.interop.learned_optimization.library import ANY, LIBRARY, imported, raw
from lopt.tasks import Task
from lopt.tasks.families.family import Drawn
from lopt.tasks.task import Batch, Params

_EVALUATIONS = 8  # keys that the loss of a task without data is averaged over


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ExternalTask(Task):
    """A family of external tasks, or a single one; see `task_from`.

    A run's state has what the family drew for it, and the model's state.

    Attributes:
      data: batches of the training split, stacked; None if there are no data.
      held_out: batches of the test split, likewise.
      family: the family.
    """

    data: Batch
    held_out: Batch
    family: Any = field(metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, Drawn]:
        family_key, init_key = jax.random.split(key)
        drawn = self.family.sample(raw(family_key))
        params, state = self.family.task_fn(drawn).init_with_state(raw(init_key))
        return params, Drawn(drawn, state)

    def batch(self, state: Drawn, key: Array) -> Batch:
        if self.data is None:
            return ()
        return _batch_of(self.data, jax.random.randint(key, (), 0, _batches_in(self.data)))

    def loss(
        self, params: Params, state: Drawn, batch: Batch, key: Array
    ) -> tuple[Float[Array, ""], Drawn]:
        task = self.family.task_fn(state.value)
        loss, model_state = task.loss_with_state(params, state.state, raw(key), batch)
        return loss, state._replace(state=model_state)

    def evaluate(self, params: Params, state: Drawn) -> dict[str, Float[Array, ""]]:
        task = self.family.task_fn(state.value)
        number = _EVALUATIONS if self.held_out is None else _batches_in(self.held_out)

        def one(index: Array) -> dict[str, Array]:
            batch = () if self.held_out is None else _batch_of(self.held_out, index)
            key = raw(jax.random.fold_in(jax.random.key(0), index))
            loss, _, aux = task.loss_with_state_and_aux(params, state.state, key, batch)
            return {**aux, "loss": loss}

        found = jax.lax.map(one, jnp.arange(number))
        return {name: jnp.mean(values) for name, values in found.items()}

    @property
    def source(self) -> str:
        return f"{self.family.name} of {LIBRARY}"


def task_from(theirs: Any, batches: int = 64, held_out: int = 8) -> ExternalTask:
    """A task of this package from an external task, or from a family of them.

    External data come from iterators on the host. As many batches as are asked for are drawn from
    these here and now, and a step takes one of them at random. The iterators shuffle differently
    each time, so that another call gives other batches. A task's `normalizer` is not applied.
    Neuron groups are inferred from the loss, as of any task.

    Args:
      theirs: an external `Task` or `TaskFamily`, or the text of a function or class that makes
        one, `"module:function(argument=value)"`.
      batches: how many are drawn of the training split, if the task has data.
      held_out: how many of the test split.

    Raises:
      UserError: if the library is missing, or this is no external task.

    Example:
      >>> task = task_from("learned_optimization.tasks.quadratics:QuadraticTask")
      >>> params, state = task.init(jax.random.key(0))
      >>> params.shape, sorted(task.evaluate(params, state))
      ((10,), ['loss'])
    """
    require_positive("task_from", batches=batches, held_out=held_out)
    base = imported("tasks.base")
    made = build(ANY, theirs) if isinstance(theirs, str) else theirs
    if isinstance(made, base.Task):
        made = base.single_task_to_family(made)
    if not isinstance(made, base.TaskFamily):
        raise UserError(f"{theirs} is a {type(made).__name__}, no Task or TaskFamily of {LIBRARY}")
    if made.datasets is None:
        return ExternalTask(None, None, made)
    test = (made.eval_datasets or made.datasets).test
    return ExternalTask(_stack(made.datasets.train, batches), _stack(test, held_out), made)


def _stack(iterator: Any, number: int) -> Batch:
    drawn = [next(iterator) for _ in range(number)]
    return jax.tree.map(lambda *xs: jnp.stack([jnp.asarray(x) for x in xs]), *drawn)


def _batch_of(batches: Batch, index: Array) -> Batch:
    return jax.tree.map(lambda x: x[index], batches)


def _batches_in(batches: Batch) -> int:
    return jax.tree.leaves(batches)[0].shape[0]
