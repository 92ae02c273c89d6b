"""Persistent evolution strategies: unbiased gradients from truncated runs."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from lopt.errors import UserError
from lopt.meta.es import require_positive
from lopt.meta.estimator import Estimator, Problem
from lopt.meta.particles import Metrics, Theta, antithetic, cap, es_gradient, normal_like, twice
from lopt.meta.unroll import Run, start, unroll


class PESState(NamedTuple):
    """What continues from one truncation to the next.

    Attributes:
      runs: the inner runs, (2 pairs, ...), in the order of `antithetic`.
      xi: the sum of a pair's perturbations since its runs started.
      remaining: truncations until a pair's runs end and new ones start.
    """

    runs: Run
    xi: Theta
    remaining: Int[Array, " pairs"]


@dataclass(frozen=True)
class PES(Estimator):
    """Persistent evolution strategies (Vicol, Metz & Sohl-Dickstein, ICML 2021).

    Runs of `horizon` steps are cut into truncations; theta is updated after each. With a new
    perturbation e_i ~ N(0, sigma^2 I) per pair and truncation, xi_i their sum since the pair's
    runs started, and L the mean inner loss of the truncation,

        g = mean_i xi_i (L_i+ - L_i-) / (2 sigma^2),

    unbiased for the smoothed meta-loss of whole runs, up to theta's drift during a run. The pairs
    are staggered: their first runs end early, at evenly spread truncations, so that afterwards
    they stand at different inner steps.

    Attributes:
      pairs: antithetic pairs.
      truncation: inner steps between two meta-updates.
      horizon: inner steps of a run, a multiple of `truncation`.
      sigma: standard deviation of the perturbations.
      loss_cap: inner losses above it, and those that are no number, count as this.
    """

    pairs: int = 8
    truncation: int = 25
    horizon: int = 500
    sigma: float = 0.01
    loss_cap: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot run.

        Raises:
          UserError: if a number is not positive, or `horizon` is no multiple of `truncation`.
        """
        require_positive(self, "pairs", "truncation", "horizon", "sigma", "loss_cap")
        if self.horizon % self.truncation:
            nearest = max(1, self.horizon // self.truncation) * self.truncation
            raise UserError(
                f"PES: horizon must be a multiple of truncation, and {self.horizon} is none of "
                f"{self.truncation}; {nearest} is"
            )

    @property
    def truncations(self) -> int:
        """Truncations in a run."""
        return self.horizon // self.truncation

    def init(self, problem: Problem, theta: Theta, key: Array) -> PESState:  # noqa: D102
        optimizer = problem.optimizer(theta)
        keys = jax.random.split(key, self.pairs)
        runs = twice(jax.vmap(lambda key: start(problem.task, optimizer, key))(keys))
        xi = jax.tree.map(lambda t: jnp.zeros((self.pairs, *t.shape), t.dtype), theta)
        remaining = self.truncations - jnp.arange(self.pairs) * self.truncations // self.pairs
        return PESState(runs, xi, remaining.astype(jnp.int32))

    def gradient(  # noqa: D102
        self, problem: Problem, theta: Theta, state: PESState, key: Array
    ) -> tuple[Theta, PESState, Metrics]:
        noise_key, fresh_key = jax.random.split(key)
        noise = normal_like(noise_key, theta, self.pairs, self.sigma)
        xi = jax.tree.map(jnp.add, state.xi, noise)

        def continue_run(theta: Theta, run: Run) -> tuple[Run, Array]:
            return unroll(problem.task, problem.optimizer(theta), run, self.truncation)

        runs, losses = jax.vmap(continue_run)(antithetic(theta, noise), state.runs)
        losses, diverged = cap(losses, self.loss_cap)
        means = losses.mean(1)
        gradient = es_gradient(xi, means, self.sigma)

        ended = state.remaining <= 1
        fresh = self.init(problem, theta, fresh_key)
        state = PESState(
            _where(twice(ended), fresh.runs, runs),
            _where(ended, fresh.xi, xi),
            jnp.where(ended, self.truncations, state.remaining - 1),
        )
        return gradient, state, Metrics(means.mean(), diverged[:, -1].mean(), diverged.size)


def _where(condition: Array, new: PyTree[Array], old: PyTree[Array]) -> PyTree[Array]:
    def choose(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, new, old)
