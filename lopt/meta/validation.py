"""Meta-validation: how well theta trains tasks that it is not meta-trained on."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from lopt.base.checks import SIZE, integer
from lopt.meta.estimator import LOSS_CAP, Problem, Theta, normalized, weighted_mean
from lopt.meta.loop import MetaState, Report
from lopt.meta.particles import measure, over_particles
from lopt.meta.unroll import Losses, whole_run
from lopt.runs.distributed import replicate

_SEED = 2_000_000
"""The seed of validation runs, the same ones at every validation."""


class Best(NamedTuple):
    """The theta of the lowest validation loss.

    Attributes:
      theta: the meta-parameters.
      loss: their validation loss; infinite before the first validation.
      step: meta-steps taken when it was measured.
    """

    theta: Theta
    loss: Float[Array, ""]
    step: Int[Array, ""]


class ValidationLoss(NamedTuple):
    """The losses of one validation.

    Attributes:
      mean: over the problems, by their weights.
      parts: of each problem.
    """

    mean: Float[Array, ""]
    parts: tuple[Float[Array, ""], ...]


class Validation:
    """The mean loss of whole inner runs of an unperturbed theta, on held-out problems.

    Every validation takes the same runs: the same initial params and the same batches. Inner losses
    are scaled and capped as estimators do it. All runs of a validation are one compiled call.

    Example:
      >>> import optax
      >>> from lopt.tasks import quadratic
      >>> problem = Problem(quadratic(), lambda theta: optax.sgd(theta))
      >>> validation = Validation([problem], horizon=10, loss_cap=10.0, every=100, runs=4)
      >>> best = validation.init(jnp.float32(0.1))
      >>> for step, theta in enumerate((0.2, 0.01), start=1):
      ...     best, loss = validation(best, jnp.float32(theta), step)
      >>> int(best.step), bool(loss.mean > best.loss)
      (1, True)
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        horizon: int,
        loss_cap: float,
        every: int,
        runs: int,
        weights: Sequence[float] | None = None,
    ):
        """See the class.

        Args:
          problems: held-out tasks and the learned optimizer on each, all with the mesh of
            meta-training; the runs are spread over its devices if their number allows it.
          horizon: inner steps of a run.
          loss_cap: inner losses above it, and NaN, count as this.
          every: meta-steps from one validation to the next; 0 for none.
          runs: inner runs on each problem.
          weights: of the problems in the mean; equal if not given.

        Raises:
          UserError: if `every` is negative, another number is not positive, or weights are not
            one for each problem.
        """
        self._horizon, self._runs = SIZE("horizon", horizon), SIZE("runs", runs)
        self._cap = LOSS_CAP("loss_cap", loss_cap)
        self._every = integer(0)("every", every)
        self._weights = normalized(weights, len(problems))
        mesh = problems[0].mesh if problems else None
        everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
        self._tasks = replicate(tuple(p.task for p in problems), everywhere)
        alone = mesh is not None and runs % mesh.size
        self._problems = tuple(p._replace(mesh=None) if alone else p for p in problems)
        self._init = jax.jit(_nothing_yet, out_shardings=everywhere)
        self._validate = jax.jit(self._validate_all, out_shardings=everywhere)

    def init(self, theta: Theta) -> Best:
        """The best before the first validation: any theta, at an infinite loss."""
        return self._init(theta)

    def __call__(self, best: Best, theta: Theta, step: int) -> tuple[Best, ValidationLoss]:
        """Validate theta.

        Args:
          best: the best so far.
          theta: that of another meta-step.
          step: meta-steps taken.

        Returns:
          The better of both, the earlier if they are alike, and the loss of theta. A loss that is
          NaN is never the best.
        """
        return self._validate(self._tasks, best, theta, step)

    def watch(
        self,
        steps: Iterable[tuple[MetaState, Report]],
        best: Best,
        done: int,
        ends: Sequence[int],
    ) -> Iterator[tuple[MetaState, Report, Best, ValidationLoss | None]]:
        """Validate as meta-training goes: every so many meta-steps, and at the end.

        A validation is sent off as soon as its meta-step is, and nothing of it is waited for. It is
        compiled in the background of the first meta-steps.

        Args:
          steps: of `MetaTraining.send`.
          best: the best so far.
          done: meta-steps taken before.
          ends: meta-steps in all; of a run that was extended, all numbers that it had.

        Yields:
          The state and the report of each step, the best until then, and the validation loss, or
          None where there was no validation.
        """
        if not self._every:
            yield from ((*taken, best, None) for taken in steps)
            return
        lowered = self._validate.lower(self._tasks, best, best.theta, done)
        with ThreadPoolExecutor(1) as background:
            compiling = background.submit(lowered.compile)
            for step, (state, report) in enumerate(steps, start=done + 1):
                loss = None
                if step % self._every == 0 or step in ends:
                    best, loss = compiling.result()(self._tasks, best, state.average, step)
                yield state, report, best, loss

    def _validate_all(
        self, tasks: tuple[Any, ...], best: Best, theta: Theta, step: Array
    ) -> tuple[Best, ValidationLoss]:
        keys = jax.random.split(jax.random.key(_SEED), self._runs)
        parts = tuple(
            self._loss(problem._replace(task=task), theta, keys)
            for problem, task in zip(self._problems, tasks, strict=True)
        )
        loss = weighted_mean(self._weights, parts)
        loss = loss.astype(best.loss.dtype)  # that of a task may have more bits
        found = Best(theta, loss, jnp.asarray(step, jnp.int32))
        better = jax.tree.map(partial(jnp.where, loss < best.loss), found, best)
        return better, ValidationLoss(loss, parts)

    def _loss(self, problem: Problem, theta: Theta, keys: Array) -> Float[Array, ""]:
        def one(task: Any, theta: Theta, key: Array) -> Losses:
            return whole_run(task, problem.optimizer(theta), key, self._horizon)

        losses = over_particles(problem, one, keys, alike=(theta,))
        return measure(problem, losses, self._cap)[2].meta_loss


def _nothing_yet(theta: Theta) -> Best:
    return Best(theta, jnp.float32(jnp.inf), jnp.int32(0))
