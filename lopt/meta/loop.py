"""The outer loop: meta-gradients into an optax optimizer of theta."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, PyTree

from lopt.base.checks import DECAY, number
from lopt.base.errors import UserError
from lopt.meta.estimator import Estimator, Metrics, Problem, Theta, normalized, weighted_mean
from lopt.runs.distributed import replicate

Item = TypeVar("Item")


class MetaState(NamedTuple):
    """The state that meta-training continues from.

    Attributes:
      theta: the meta-parameters.
      average: of theta, exponential, over meta-steps; theta itself without averaging.
      outer_state: the state of the outer optimizer.
      estimator_states: of each problem, inner runs included.
      step: meta-steps taken.
      skipped: meta-steps in a row, up to now, that left theta as it was.
      key: of all randomness, together with `step`.
    """

    theta: Theta
    average: Theta
    outer_state: PyTree[Array]
    estimator_states: tuple[PyTree[Array], ...]
    step: Int[Array, ""]
    skipped: Int[Array, ""]
    key: Array


class Report(NamedTuple):
    """Numbers of one meta-step.

    Attributes:
      step: meta-steps taken, this one included.
      inner: what the estimator saw of each problem.
      meta_loss: the mean over the problems, by their weights.
      gradient_norm: of the problems' meta-gradients before they are clipped: the mean, by weights.
      skipped: meta-steps in a row, up to this one, that left theta as it was, because the
        meta-gradient was not finite, or theta after the step, or all inner runs diverged.
    """

    step: Int[Array, ""]
    inner: tuple[Metrics, ...]
    meta_loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    skipped: Int[Array, ""]


def one_ahead(steps: Iterator[Item]) -> Iterator[Item]:
    """Every item, each when the one after it was taken from `steps`.

    >>> for item in one_ahead(print("sent", i) or i for i in range(2)):
    ...     print("read", item)
    sent 0
    sent 1
    read 0
    read 1
    """
    pending: list[Item] = []
    for item in steps:
        yield from pending
        pending = [item]
    yield from pending


class MetaTraining:
    """One theta, learned on one or several problems.

    Theta's gradient is the mean of those of the problems, by their weights. A meta-step is one
    compiled call.

    Attributes:
      problems: the tasks and the learned optimizer on each.
      estimators: how each problem's meta-gradient is estimated.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from lopt.meta import ES
      >>> from lopt.tasks import mlp
      >>> problem = Problem(mlp(widths=(4,)), lambda theta: optax.adam(jnp.exp(theta)))
      >>> training = MetaTraining([problem], [ES(pairs=2, horizon=3)], optax.adam(0.1))
      >>> state = training.init(jnp.float32(-7.0), jax.random.key(0))
      >>> for state, report in training.run(state, steps=2):
      ...     loss = report.inner[0].meta_loss
      >>> int(state.step)
      2
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        estimators: Sequence[Estimator],
        outer: optax.GradientTransformation,
        weights: Sequence[float] | None = None,
        clip: float = math.inf,
        averaging: float = 0.0,
    ):
        """See the class.

        Args:
          problems: all with the same mesh, or none.
          estimators: one for each problem.
          outer: the optimizer of theta.
          weights: of the problems in theta's gradient; equal if not given.
          clip: the norm to which the gradient of each problem is shortened, so that none outweighs
            the others because its losses are the more sensitive to theta.
          averaging: the decay of the average of theta, from 0 to below 1.

        Raises:
          UserError: if there are no problems, or estimators or weights are not one for each, or a
            number is out of its range.
        """
        self.problems = tuple(problems)
        self.estimators = tuple(estimators)
        if not self.problems or len(self.estimators) != len(self.problems):
            raise UserError(
                f"{len(self.problems)} problems and {len(self.estimators)} estimators; give one or "
                "more problems, and an estimator for each"
            )
        self._weights = normalized(weights, len(self.problems))
        self._clip = number(above=0, infinite=True)("clip", clip)
        self._averaging = DECAY("averaging", averaging)
        self._outer = outer
        mesh = self.problems[0].mesh
        self._everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
        self._tasks = replicate(tuple(p.task for p in self.problems), self._everywhere)
        self._init = jax.jit(self._init_all)
        self._step = jax.jit(self._step_all)

    def init(self, theta: Theta, key: Array) -> MetaState:
        """The state before the first meta-step."""
        theta, key = replicate((theta, key), self._everywhere)
        return self._init(self._tasks, theta, key)

    def run(self, state: MetaState, steps: int) -> Iterator[tuple[MetaState, Report]]:
        """Take meta-steps until `steps` are taken, those before `state` included; yields each.

        The next step is on its way before the last is handed out, so that a consumer who reads
        its report does not hold the device up.
        """
        return one_ahead(self.send(state, steps))

    def send(self, state: MetaState, steps: int) -> Iterator[tuple[MetaState, Report]]:
        """As `run`, but each step is yielded when it is sent off to the device, before it is done.

        A consumer who reads it waits for the device, and the device for the consumer; `one_ahead`
        avoids both.
        """
        for _ in range(int(state.step), steps):
            state, report = self._step(self._tasks, state)
            yield state, report

    def lower(self, state: MetaState) -> jax.stages.Lowered:
        """A meta-step ready to be compiled, for those who want to know its cost."""
        return self._step.lower(self._tasks, state)

    def _init_all(self, tasks: tuple[Any, ...], theta: Theta, key: Array) -> MetaState:
        init_key, loop_key = jax.random.split(key)
        states = tuple(
            estimator.init(problem, theta, jax.random.fold_in(init_key, i))
            for i, problem, estimator in self._each(tasks)
        )
        zero = jnp.zeros((), jnp.int32)
        return MetaState(theta, theta, self._outer.init(theta), states, zero, zero, loop_key)

    def _step_all(self, tasks: tuple[Any, ...], state: MetaState) -> tuple[MetaState, Report]:
        key = jax.random.fold_in(state.key, state.step)
        gradients, norms, states, metrics = [], [], [], []
        for i, problem, estimator in self._each(tasks):
            gradient, estimator_state, seen = estimator.gradient(
                problem, state.theta, state.estimator_states[i], jax.random.fold_in(key, i)
            )
            norms.append(optax.tree.norm(gradient))
            shorter = jnp.minimum(1.0, self._clip / norms[-1])  # 1 for a gradient of zeros
            gradients.append(optax.tree.scale(shorter, gradient))
            states.append(estimator_state)
            metrics.append(seen)
        norm = weighted_mean(self._weights, norms)
        gradient = jax.tree.map(lambda *g: weighted_mean(self._weights, g), *gradients)
        alive = jnp.stack([m.diverged < 1 for m in metrics]).any()
        theta, outer_state, sound = self._update(gradient, state, jnp.isfinite(norm) & alive)
        step, skipped = state.step + 1, jnp.where(sound, 0, state.skipped + 1)
        average = optax.incremental_update(theta, state.average, 1 - self._averaging)
        theta, average, outer_state = self._constrain((theta, average, outer_state))
        meta_loss = weighted_mean(self._weights, [m.meta_loss for m in metrics])
        report = self._constrain(Report(step, tuple(metrics), meta_loss, norm, skipped))
        after = MetaState(theta, average, outer_state, tuple(states), step, skipped, state.key)
        return after, report

    def _update(
        self, gradient: Theta, state: MetaState, sound: Array
    ) -> tuple[Theta, PyTree[Array], Array]:
        """Theta and the outer state after a gradient, or as they were if something is not sound."""
        before = state.theta, state.outer_state
        updates, outer_state = self._outer.update(gradient, state.outer_state, state.theta)
        theta = optax.apply_updates(state.theta, updates)
        sound &= jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(theta)]).all()
        chosen = jax.tree.map(
            lambda new, old: jnp.where(sound, new, old), (theta, outer_state), before
        )
        return *chosen, sound

    def _each(self, tasks: tuple[Any, ...]) -> Iterator[tuple[int, Problem, Estimator]]:
        """Each problem with its task as it is traced, so that data are no constants of programs."""
        for i, (problem, task) in enumerate(zip(self.problems, tasks, strict=True)):
            yield i, problem._replace(task=task), self.estimators[i]

    def _constrain(self, tree: PyTree[Array]) -> PyTree[Array]:
        """Arrays that lie alike on all devices, so that no device has to ask others for theta."""
        if self._everywhere is None:
            return tree
        return jax.lax.with_sharding_constraint(tree, self._everywhere)
