"""A family of tasks, and the ranges that it draws from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.symmetry import PermutationSpec
from lopt.tasks.task import Batch, Params, State, Task

Range = tuple[float, float]
"""The least and the greatest value that a family draws."""

Varied = Task | str | Mapping[str, Any]
"""A task to vary: made already, or as text or config."""


@dataclass(frozen=True, eq=False)
class Family(Task):
    """A distribution over tasks that differ in numbers and not in shapes.

    `init` draws which of them a run trains, and puts it into the run's state. Runs of different
    members share all arrays and vmap; what a family does not change is as in the task in it.

    Attributes:
      task: the task, or the family, that it varies.

    Example:
      >>> from lopt.tasks import input_scale
      >>> task = input_scale("mlp(widths=(4,))", scale=(0.5, 2.0))
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> len(set(jax.vmap(lambda key: task.init(key)[1].view.scale)(keys).tolist()))
      3
    """

    task: Task

    # A family that needs what it drew later on wraps the state of the task in it with these two, as
    # `DrawingFamily` does; all other methods hand on to that task through them.

    def inner(self, state: State) -> State:
        """The state of the task in the family."""
        return state

    def around(self, state: State, inner: State) -> State:
        """The state with another one of the task in the family."""
        return inner

    def init(self, key: Array) -> tuple[Params, State]:
        return self.task.init(key)

    def batch(self, state: State, key: Array) -> Batch:
        return self.task.batch(self.inner(state), key)

    def loss(
        self, params: Params, state: State, batch: Batch, key: Array
    ) -> tuple[Float[Array, ""], State]:
        loss, inner = self.task.loss(params, self.inner(state), batch, key)
        return loss, self.around(state, inner)

    def evaluate(self, params: Params, state: State) -> dict[str, Float[Array, ""]]:
        return self.task.evaluate(params, self.inner(state))

    def see(self, state: State, change: Callable[[Any], Any]) -> State:
        return self.around(state, self.task.see(self.inner(state), change))

    @property
    def spec(self) -> PermutationSpec:
        """The neuron groups of the task that varies."""
        return self.task.spec

    @property
    def source(self) -> str:
        return self.task.source

    @property
    def view(self) -> Any:
        return self.task.view


class Drawn(NamedTuple):
    """The state of a run whose family needs what it drew later on.

    Attributes:
      value: what was drawn.
      state: the state of the task in the family.
    """

    value: Any
    state: State


@dataclass(frozen=True, eq=False)
class DrawingFamily(Family):
    """A family whose state is `Drawn`; subclasses use its `value`."""

    def inner(self, state: Drawn) -> State:
        return state.state

    def around(self, state: Drawn, inner: State) -> Drawn:
        return state._replace(state=inner)


def uniform(key: Array, limits: Range, shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
    """Uniform numbers from low to high."""
    return jax.random.uniform(key, shape, minval=limits[0], maxval=limits[1])


def log_uniform(key: Array, limits: Range, shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
    """Log-uniform numbers from low to high."""
    low, high = (math.log(limit) for limit in limits)
    return jax.numpy.exp(uniform(key, (low, high), shape))


def require_range(
    family: str, name: str, limits: Range, least: float, greatest: float = math.inf
) -> Range:
    """A pair of numbers in order, between bounds; anything else is refused."""
    try:
        low, high = limits
        if least <= low <= high <= greatest:
            return low, high
    except (TypeError, ValueError):
        pass
    bound = f"at least {least:g}" if greatest == math.inf else f"from {least:g} to {greatest:g}"
    raise UserError(
        f"{family}: {name} must be (low, high) with low <= high, both {bound}, not {limits!r}"
    )


def varied_by(task: Task) -> Task:
    """The task within all families around it."""
    return varied_by(task.task) if isinstance(task, Family) else task


def vary(family: str, task: Varied, field: str = "") -> Task:
    """The task that a family varies, made from its config if it is one.

    A task without the field of its view that the family changes is refused.
    """
    from lopt.tasks.registry import TASKS  # which this family is in, with all that it can vary

    task = task if isinstance(task, Task) else build(TASKS, task)
    if field and field not in getattr(task.view, "_fields", ()):
        what = {"labels": "labels", "scale": "real inputs", "fraction": "data"}[field]
        raise UserError(f"{family}: the task in it has no {what} to vary; take another task")
    return task
