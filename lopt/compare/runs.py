"""Training runs of one task: the same starts and batches for every optimizer, many at a time."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree
from optax.contrib import schedule_free_eval_params

from lopt.base.schedules import SCHEDULES
from lopt.compare.trials import Setting, Trial
from lopt.meta.unroll import Run, init_run, step, unroll
from lopt.tasks import Task

Maker = Callable[[optax.Schedule | None, Array | None], optax.GradientTransformation]
"""(learning rate, weight decay) -> optimizer; None for what the optimizer brings itself."""

_FIRST_SEED = 1_000_000
"""Trials take the seeds from here on, far from those that meta-training is given."""

_CACHE = 2**22
"""Bytes that the runs of one call may work on, on a CPU: more at a time are no faster."""

_FRACTION = 0.25
"""The fraction of an accelerator's memory that they may."""


class Runs:
    """The training runs of a task, from several seeds.

    Seed i means the same initial params and the same batches for every optimizer.

    Attributes:
      task: what is trained.
      steps: of a run.
      seeds: how many runs each setting gets.
    """

    def __init__(self, task: Task, steps: int, seeds: int):
        self.task, self.steps, self.seeds = task, steps, seeds

    @cached_property
    def starts(self) -> Run:
        """The run of each seed before its first step; no optimizer has touched it."""
        keys = jnp.stack([jax.random.key(_FIRST_SEED + i) for i in range(self.seeds)])

        def begin(task: Task, key: Array) -> Run:
            return init_run(task, optax.identity(), key, self.steps)

        return jax.jit(jax.vmap(begin, (None, 0)))(self.task, keys)

    def evaluate(self, params: PyTree[Array], model_state: PyTree[Array]) -> dict[str, float]:
        """Metrics on the held-out split."""
        metrics = self._evaluate(self.task, params, model_state)
        return {name: float(value) for name, value in metrics.items()}

    @cached_property
    def _evaluate(self) -> Callable[..., dict[str, Array]]:
        return jax.jit(lambda task, params, model_state: task.evaluate(params, model_state))


class Program:
    """The training runs of one optimizer, compiled once for all settings and seeds.

    A run's learning rate, schedule and weight decay are data, so that runs of several settings
    and seeds are trained at once. They are cut into calls that fit the memory.

    Attributes:
      runs: of the task.
      make: makes the optimizer.
    """

    def __init__(self, runs: Runs, make: Maker, given: Setting, most: int, room: int | None = None):
        """See the class.

        Args:
          runs: of the task.
          make: makes the optimizer.
          given: a setting; which of its values are None is the same for all.
          most: runs that will be trained at once, if they fit.
          room: bytes that they may work on; by default as many as suit the device.
        """
        self.runs, self.make = runs, make
        self._given, self._most = given, most
        self._room = default_room() if room is None else room
        self._compiled: Callable[..., Any] | None = None

    def compile(self) -> None:
        """Compile, unless that is done; every call needs it."""
        if self._compiled is None:
            seeds = np.zeros(self._together, np.int32)
            values = np.zeros((self._together, 2), np.float32)
            shapes = np.zeros((self._together, self.runs.steps), np.float32)
            lowered = jax.jit(self._train).lower(
                self.runs.task, self.runs.starts, seeds, values, shapes
            )
            self._compiled = lowered.compile()

    def __call__(self, settings: Sequence[Setting]) -> Iterator[Trial]:
        """Train at each setting from each seed; yields a trial as soon as its runs are done."""
        waiting: list[tuple[np.ndarray, dict[str, float]]] = []
        done = 0
        lanes = [(setting, seed) for setting in settings for seed in range(self.runs.seeds)]
        while lanes:
            call, lanes = lanes[: self._together], lanes[self._together :]
            try:
                waiting += self._call(call)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error) or self._together == 1:
                    raise
                self._together, self._compiled = -(-self._together // 2), None
                lanes = call + lanes
            while len(waiting) >= self.runs.seeds:
                ended, waiting = waiting[: self.runs.seeds], waiting[self.runs.seeds :]
                losses, metrics = zip(*ended, strict=True)
                by_name = {name: np.array([m[name] for m in metrics]) for name in metrics[0]}
                yield Trial(settings[done], np.stack(losses), by_name)
                done += 1

    def _call(
        self, lanes: Sequence[tuple[Setting, int]]
    ) -> list[tuple[np.ndarray, dict[str, float]]]:
        self.compile()
        spare = self._together - len(lanes)
        padded = [*lanes, *[lanes[-1]] * spare]
        seeds = np.array([seed for _, seed in padded], np.int32)
        values = np.array(
            [(s.learning_rate or 0.0, s.weight_decay or 0.0) for s, _ in padded], np.float32
        )
        shapes = np.stack([shape(s.schedule, self.runs.steps) for s, _ in padded])
        losses, params, model_state = self._compiled(
            self.runs.task, self.runs.starts, seeds, values, shapes
        )
        losses = np.asarray(losses)
        return [
            (
                losses[i],
                self.runs.evaluate(*jax.tree.map(lambda x, i=i: x[i], (params, model_state))),
            )
            for i in range(len(lanes))
        ]

    def _train(
        self,
        task: Task,
        starts: Run,
        seeds: Int[Array, " lanes"],
        values: Float[Array, "lanes 2"],
        shapes: Float[Array, "lanes steps"],
    ) -> tuple[Float[Array, "lanes steps"], PyTree[Array], PyTree[Array]]:
        def train(seed: Array, values: Array, shape: Array) -> Any:
            run = jax.tree.map(lambda x: x[seed], starts)
            optimizer = self.optimizer(values[0], values[1], shape)
            run = run._replace(opt_state=optimizer.init(run.params))
            run, losses = unroll(task, optimizer, run, self.runs.steps)
            return losses.values, evaluated_params(run), run.model_state

        return jax.vmap(train)(seeds, values, shapes)

    def optimizer(
        self, rate: Array, decay: Array, shape: Float[Array, " steps"]
    ) -> optax.GradientTransformation:
        """The optimizer at a setting whose values are arrays."""
        last = self.runs.steps - 1
        own = self._given.learning_rate is None
        schedule = None if own else lambda count: rate * shape[jnp.minimum(count, last)]
        return self.make(schedule, None if self._given.weight_decay is None else decay)

    def one(self) -> tuple[optax.GradientTransformation, Run]:
        """The optimizer at the given setting and its run from the first seed, for measurements."""
        rate, decay = self._given.learning_rate or 0.0, self._given.weight_decay or 0.0
        values = jnp.asarray(shape(self._given.schedule, self.runs.steps))
        optimizer = self.optimizer(jnp.float32(rate), jnp.float32(decay), values)
        run = jax.tree.map(lambda x: x[0], self.runs.starts)
        return optimizer, run._replace(opt_state=jax.jit(optimizer.init)(run.params))

    def state_bytes(self) -> int:
        """The size of the optimizer's state in one run."""

        def init(values: Array, shape: Array, params: PyTree[Array]) -> PyTree[Array]:
            return self.optimizer(values[0], values[1], shape).init(params)

        params = jax.tree.map(lambda x: x[0], self.runs.starts.params)
        state = jax.eval_shape(init, jnp.zeros(2), jnp.zeros(self.runs.steps), params)
        return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))

    @cached_property
    def _together(self) -> int:
        """How many runs at once work on no more than the memory allows; whole settings at best."""
        fit = max(1, self._room // max(1, self.working_set()))
        seeds = self.runs.seeds
        return min(self._most, fit if fit < seeds else fit - fit % seeds)

    def working_set(self) -> int:
        """Bytes of all that one step of one run computes: no less than it holds at a time."""

        def one_step(task: Task, starts: Run, values: Array, shape: Array) -> Any:
            optimizer = self.optimizer(values[0], values[1], shape)
            run = jax.tree.map(lambda x: x[0], starts)
            return step(task, optimizer, run._replace(opt_state=optimizer.init(run.params)))

        values, shapes = jnp.zeros(2), jnp.zeros(self.runs.steps)
        closed = jax.make_jaxpr(one_step)(self.runs.task, self.runs.starts, values, shapes)
        made = (v.aval for equation in closed.jaxpr.eqns for v in equation.outvars)
        return sum(math.prod(a.shape) * a.dtype.itemsize for a in made if hasattr(a, "shape"))


@lru_cache
def shape(schedule: str, steps: int) -> Float[np.ndarray, " steps"]:
    """The factors of a schedule at each step; of an optimizer's own schedule, ones."""
    if not schedule:
        return np.ones(steps, np.float32)
    factors = jax.vmap(SCHEDULES[schedule](1.0, steps))(jnp.arange(steps))
    return np.asarray(factors, np.float32)


def evaluated_params(run: Run) -> PyTree[Array]:
    """The params that held-out data see: the average that schedule-free optimizers keep."""
    averaging = [
        state for state in jax.tree.leaves(run.opt_state, is_leaf=_averages) if _averages(state)
    ]
    return schedule_free_eval_params(averaging[0], run.params) if averaging else run.params


def _averages(state: Any) -> bool:
    return isinstance(state, optax.contrib.ScheduleFreeState)


def default_room() -> int:
    """Bytes that the runs of one call may work on."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return _CACHE
    return int(_FRACTION * (device.memory_stats() or {}).get("bytes_limit", 2**32))
