"""Training runs of one task: the same starts and batches for every optimizer, many at a time."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

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
from lopt.tasks.untrusted import bytes_of

Maker = Callable[[optax.Schedule | None, Array | None], optax.GradientTransformation]
"""(learning rate, weight decay) -> optimizer; None for what the optimizer brings itself."""

Ended = tuple[Float[np.ndarray, " steps"], dict[str, float]]  # losses, and held-out metrics

_FIRST_SEED = 1_000_000  # of trials, far from the seeds that meta-training is given

# Bytes that the runs of one call may work on. On a CPU more runs at a time are no faster then
# (docs/comparing.md, "How it runs"); on an accelerator XLA needs memory beside the working set.
_CACHE = 2**22
_FRACTION = 0.25


class Runs:
    """The training runs of a task: of so many steps, and from so many seeds at each setting.

    Seed i means the same initial params and the same batches for every optimizer.
    """

    def __init__(self, task: Task, steps: int, seeds: int):
        self.task, self.steps, self.seeds = task, steps, seeds

    @cached_property
    def starts(self) -> Run:
        """The run of each seed before its first step; no optimizer has touched it."""
        # The states of optimizers differ, and are made in the program of each.
        keys = jnp.stack([jax.random.key(_FIRST_SEED + i) for i in range(self.seeds)])

        def begin(task: Task, key: Array) -> Run:
            return init_run(task, optax.identity(), key, self.steps)

        return jax.jit(jax.vmap(begin, (None, 0)))(self.task, keys)

    @cached_property
    def evaluate(self) -> Callable[[Task, PyTree[Array], PyTree[Array]], dict[str, Array]]:
        """(task, params, model state) -> metrics on the held-out split."""
        return jax.jit(lambda task, params, model_state: task.evaluate(params, model_state))


class Lane(NamedTuple):
    """The data of training runs, along a leading axis; `shape` is that of a schedule."""

    seed: Int[Array, "..."]
    rate: Float[Array, "..."]
    decay: Float[Array, "..."]
    shape: Float[Array, "... steps"]


class Program:
    """The training runs of one optimizer, compiled once for all settings and seeds.

    A run's learning rate, schedule and weight decay are data, so that runs of several settings
    and seeds are trained at once. They are cut into calls of `together` runs, which fit the memory.
    Which values of the first settings are None is the same for all that will be trained.
    """

    def __init__(self, runs: Runs, make: Maker, first: Sequence[Setting], room: int | None = None):
        """See the class; `room` is how many bytes the runs of a call may work on."""
        self.runs, self.make, self.first = runs, make, first
        self._room = default_room() if room is None else room
        self._compiled: Callable[..., Any] | None = None

    def compile(self) -> Callable[..., Any]:
        """The compiled training of `together` runs: (task, starts, lanes) -> their ends."""
        if self._compiled is None:
            lanes = self._lanes([(self.first[0], 0)] * self.together)
            lowered = jax.jit(self._train).lower(self.runs.task, self.runs.starts, lanes)
            self._compiled = lowered.compile()
        return self._compiled

    def __call__(self, settings: Sequence[Setting]) -> Iterator[Trial]:
        """Train at each setting from each seed; yields a trial as soon as its runs are done."""
        seeds = self.runs.seeds
        waiting: list[Ended] = []
        left = [(setting, seed) for setting in settings for seed in range(seeds)]
        for setting in settings:
            while len(waiting) < seeds:
                call, rest = left[: self.together], left[self.together :]
                try:
                    waiting += self.train(call)
                    left = rest
                except jax.errors.JaxRuntimeError as error:  # the working set is an estimate
                    if "RESOURCE_EXHAUSTED" not in str(error) or self.together == 1:
                        raise
                    self.together, self._compiled = -(-self.together // 2), None
            ended, waiting = waiting[:seeds], waiting[seeds:]
            losses, metrics = zip(*ended, strict=True)
            by_name = {name: np.array([m[name] for m in metrics]) for name in metrics[0]}
            yield Trial(setting, np.stack(losses), by_name)

    def train(self, runs: Sequence[tuple[Setting, int]]) -> list[Ended]:
        """Train up to `together` runs, each at a setting from a seed, in one call."""
        compiled = self.compile()
        # The program is compiled for one number of runs: what is missing repeats the last one.
        spare = self.together - len(runs)
        lanes = self._lanes([*runs, *[runs[-1]] * spare])
        losses, *ends = compiled(self.runs.task, self.runs.starts, lanes)
        losses = np.asarray(losses)
        found = []
        for i in range(len(runs)):
            end = jax.tree.map(lambda x, i=i: x[i], ends)
            metrics = self.runs.evaluate(self.runs.task, *end)
            found.append((losses[i], {name: float(value) for name, value in metrics.items()}))
        return found

    def one(self) -> tuple[optax.GradientTransformation, Run]:
        """The optimizer at the first setting and its run from the first seed, for measurements."""
        lane = self._first_lane
        begun = jax.jit(lambda starts: self._begun(starts, lane)[1])
        return self._optimizer(lane), begun(self.runs.starts)

    def state_bytes(self) -> int:
        """The size of the optimizer's state in one run."""

        def init(starts: Run, lane: Lane) -> PyTree[Array]:
            return self._begun(starts, lane)[1].opt_state

        return bytes_of(jax.eval_shape(init, self.runs.starts, self._first_lane))

    def working_set(self) -> int:
        """Bytes of all that one step of one run computes: no less than it holds at a time."""

        def one_step(task: Task, starts: Run, lane: Lane) -> Any:
            return step(task, *self._begun(starts, lane))

        closed = jax.make_jaxpr(one_step)(self.runs.task, self.runs.starts, self._first_lane)
        made = (v.aval for equation in closed.jaxpr.eqns for v in equation.outvars)
        return bytes_of([a for a in made if hasattr(a, "shape")])

    @cached_property
    def together(self) -> int:
        """The number of runs that fit the memory at once: those of whole settings, if one fits."""
        fit = max(1, self._room // max(1, self.working_set()))
        seeds = self.runs.seeds
        return min(len(self.first) * seeds, fit if fit < seeds else fit - fit % seeds)

    @property
    def _first_lane(self) -> Lane:
        return jax.tree.map(lambda x: x[0], self._lanes([(self.first[0], 0)]))

    def _lanes(self, runs: Sequence[tuple[Setting, int]]) -> Lane:
        return Lane(
            jnp.array([seed for _, seed in runs], jnp.int32),
            jnp.array([s.learning_rate or 0.0 for s, _ in runs], jnp.float32),
            jnp.array([s.weight_decay or 0.0 for s, _ in runs], jnp.float32),
            jnp.array(np.stack([shape(s.schedule, self.runs.steps) for s, _ in runs])),
        )

    def _optimizer(self, lane: Lane) -> optax.GradientTransformation:
        def schedule(count: Array) -> Array:
            return lane.rate * lane.shape[jnp.minimum(count, self.runs.steps - 1)]

        rate, _, decay = self.first[0]
        return self.make(None if rate is None else schedule, None if decay is None else lane.decay)

    def _begun(self, starts: Run, lane: Lane) -> tuple[optax.GradientTransformation, Run]:
        run = jax.tree.map(lambda x: x[lane.seed], starts)
        optimizer = self._optimizer(lane)
        return optimizer, run._replace(opt_state=optimizer.init(run.params))

    def _train(
        self, task: Task, starts: Run, lanes: Lane
    ) -> tuple[Float[Array, "lanes steps"], PyTree[Array], PyTree[Array]]:
        def train(lane: Lane) -> Any:
            run, losses = unroll(task, *self._begun(starts, lane), self.runs.steps)
            return losses.values, evaluated_params(run), run.model_state

        return jax.vmap(train)(lanes)


@lru_cache
def shape(schedule: str, steps: int) -> Float[np.ndarray, " steps"]:
    """The factors of a schedule at each step; ones for an optimizer that brings a schedule."""
    if not schedule:
        return np.ones(steps, np.float32)
    factors = jax.vmap(SCHEDULES[schedule](1.0, steps))(jnp.arange(steps))
    return np.asarray(factors, np.float32)


def evaluated_params(run: Run) -> PyTree[Array]:
    """The params that held-out data see: of schedule-free optimizers the average in their state."""

    def averages(state: Any) -> bool:
        return isinstance(state, optax.contrib.ScheduleFreeState)

    states = filter(averages, jax.tree.leaves(run.opt_state, is_leaf=averages))
    return next((schedule_free_eval_params(s, run.params) for s in states), run.params)


def default_room() -> int:
    """Bytes that the runs of one call may work on."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return _CACHE
    return int(_FRACTION * (device.memory_stats() or {}).get("bytes_limit", 2**32))
