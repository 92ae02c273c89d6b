"""Inner runs that are cut into truncations and stand at different steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lopt.base.checks import POSITIVE, SIZE, checked, integer
from lopt.base.errors import UserError
from lopt.meta.estimator import LOSS_CAP, Estimator, Metrics, Problem, Theta
from lopt.meta.particles import (
    antithetic,
    both,
    choose,
    es_gradient,
    measure,
    normal_like,
    over_pairs,
    over_particles,
    per_pair,
    twice,
)
from lopt.meta.unroll import Losses, Run, init_run, unroll
from lopt.tasks import Task


class Staggered(NamedTuple):
    """Runs between two truncations, with a leading axis of particles."""

    runs: Run
    # truncations until each run ends and a new one takes its place
    remaining: Int[Array, " particles"]


@dataclass(frozen=True)
@checked(pairs=SIZE, truncation=SIZE, horizon=SIZE, shortest=integer(0), loss_cap=LOSS_CAP)
class Truncated(Estimator):
    """The estimators that update theta after each truncation of a run: the runs.

    The runs are staggered: the first ones end early, at evenly spread truncations, so that
    afterwards they stand at different inner steps.

    A run is lost once a truncation's last loss is above the cap and no lower than its first. A pair
    of lost runs makes room for fresh ones: held at the cap, both would add nothing to the gradient
    until their end, so the expected gradient keeps its direction, and only its length grows, as
    runs are shorter. A lost run whose other is not lost continues and contributes the cap: the
    difference between the two tells theta where runs diverge. To restart these as well would bias
    PES ("Diverged runs: restart a pair when both are lost" in docs/research-log.md). Lost runs of
    `TBPTT` restart one by one, since they have no gradient.

    Attributes:
      pairs: antithetic pairs.
      truncation: inner steps between two meta-updates.
      horizon: inner steps of a run, a multiple of `truncation`.
      shortest: if positive, the length of each run is drawn between this and `horizon`, uniform on
        a log axis, in whole truncations; otherwise it is `horizon`.
      loss_cap: inner losses above it, and NaN, count as this.
    """

    pairs: int = 8
    truncation: int = 25
    horizon: int = 500
    shortest: int = 0
    loss_cap: float = 10.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.horizon % self.truncation:
            nearest = max(1, self.horizon // self.truncation) * self.truncation
            raise UserError(
                f"{name}: horizon must be a multiple of truncation, and {self.horizon} is not one "
                f"of {self.truncation}; {nearest} is"
            )
        if self.shortest > self.horizon:
            raise UserError(
                f"{name}: shortest must be at most horizon, and {self.shortest} is above "
                f"{self.horizon}"
            )

    @property
    def truncations(self) -> int:
        """Truncations in the longest run."""
        return self.horizon // self.truncation

    def lengths(self, key: Array, count: int) -> Int[Array, " count"]:
        """Truncations of new runs."""
        if not self.shortest:
            return jnp.full((count,), self.truncations, jnp.int32)
        low = math.log(max(1, math.ceil(self.shortest / self.truncation)))
        high = math.log(self.truncations + 1)
        drawn = jnp.exp(jax.random.uniform(key, (count,), minval=low, maxval=high))
        return jnp.clip(drawn.astype(jnp.int32), 1, self.truncations)

    def init_runs(
        self, problem: Problem, theta: Theta, key: Array, over: Callable[..., Any], count: int
    ) -> Staggered:
        """Runs before their first step, one for each pair or each particle, as `over` has them."""
        length_key, run_key = jax.random.split(key)

        def one(task: Task, theta: Theta, key: Array, length: Array) -> Staggered:
            steps = length * self.truncation
            return Staggered(init_run(task, problem.optimizer(theta), key, steps), length)

        keys, lengths = jax.random.split(run_key, count), self.lengths(length_key, count)
        return over(problem, one, keys, lengths, alike=(theta,))

    def init_staggered(
        self, problem: Problem, theta: Theta, key: Array, over: Callable[..., Any], count: int
    ) -> Staggered:
        """As `init_runs`, but run i ends i / count of its length early."""
        runs, remaining = self.init_runs(problem, theta, key, over, count)
        return Staggered(runs, remaining - jnp.arange(count) * remaining // count)


@dataclass(frozen=True)
@checked(sigma=POSITIVE)
class Antithetic(Truncated):
    """The truncated estimators that perturb theta: all but the perturbation itself.

    Attributes:
      sigma: standard deviation of the perturbations; the others are those of `Truncated`.
    """

    sigma: float = 0.01

    def init_pairs(self, problem: Problem, theta: Theta, key: Array) -> Staggered:
        """Staggered runs, the same ones for both particles of a pair."""
        return twice(problem, self.init_staggered(problem, theta, key, over_pairs, self.pairs))

    def draw(self, problem: Problem, theta: Theta, key: Array) -> Theta:
        """A perturbation of theta for each pair, (pairs, ...)."""
        return normal_like(problem, key, theta, self.pairs, self.sigma)

    def truncation_gradient(
        self,
        problem: Problem,
        theta: Theta,
        noise: Theta,
        credited: Theta,
        staggered: Staggered,
        key: Array,
    ) -> tuple[Theta, Staggered, Bool[Array, " pairs"], Metrics]:
        """One truncation of all runs: the gradient, the runs after it and which pairs are fresh.

        `noise` is the perturbation of each pair, `credited` what its losses are multiplied by; the
        runs that take the place of those that end are drawn with `key`.
        """

        def one(task: Task, theta: Theta, run: Run) -> tuple[Run, Losses]:
            return unroll(task, problem.optimizer(theta), run, self.truncation)

        thetas = antithetic(problem, theta, noise)
        runs, losses = over_particles(problem, one, thetas, staggered.runs)
        means, lost, metrics = measure(problem, losses, self.loss_cap)
        gradient = es_gradient(problem, credited, means, self.sigma)
        # made in every truncation, for those that end: to ask first is one more exchange of all
        # devices ("Fresh runs only when a run ends" in docs/research-log.md)
        fresh = twice(problem, self.init_runs(problem, theta, key, over_pairs, self.pairs))
        staggered = staggered._replace(runs=runs)
        staggered, ended, restarted = restart(staggered, fresh, both(problem, lost))
        metrics = metrics._replace(restarted=restarted)
        return gradient, staggered, per_pair(problem, ended), metrics


def restart(
    staggered: Staggered, fresh: Staggered, lost: Bool[Array, " particles"]
) -> tuple[Staggered, Bool[Array, " particles"], Float[Array, ""]]:
    """Runs after a truncation, fresh ones in place of those that are over or lost.

    Also which of them are fresh, and the fraction that was lost before its end.
    """
    over = staggered.remaining <= 1
    ended = over | lost
    runs = choose(ended, fresh, staggered._replace(remaining=staggered.remaining - 1))
    return runs, ended, (lost & ~over).mean()
