"""Persistent evolution strategies: unbiased gradients from truncated runs."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lopt.base.checks import POSITIVE, set_checked
from lopt.meta.estimator import Metrics, Problem, Theta
from lopt.meta.particles import (
    antithetic,
    both,
    choose,
    es_gradient,
    measure,
    normal_like,
    over_pairs,
    per_pair,
    twice,
)
from lopt.meta.staggered import Staggered, Truncated, restart
from lopt.tasks import Task


class PESState(NamedTuple):
    """What continues from one truncation to the next.

    Attributes:
      staggered: the inner runs, in the order of `antithetic`.
      xi: the sum of each pair's perturbations since its runs started, (pairs, ...).
    """

    staggered: Staggered
    xi: Theta


@dataclass(frozen=True)
class PES(Truncated):
    r"""Persistent evolution strategies (Vicol, Metz & Sohl-Dickstein, ICML 2021).

    Runs are cut into truncations; theta is updated after each. With a new perturbation
    :math:`e_i \sim N(0, \sigma^2 I)` per pair and truncation, :math:`\xi_i` their sum since the
    pair's runs started, and L the mean inner loss of the truncation,

    .. math:: g = \mathrm{mean}_i \; \xi_i \frac{L_i^+ - L_i^-}{2 \sigma^2},

    unbiased for the smoothed meta-loss of whole runs, up to theta's drift during a run.

    Attributes:
      sigma: standard deviation of the perturbations; the others are those of `Truncated`.
    """

    sigma: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        set_checked(self, "PES", sigma=POSITIVE)

    def init(self, problem: Problem, theta: Theta, key: Array) -> PESState:
        def zero(task: Task, key: Array) -> Theta:
            return jax.tree.map(lambda t: jnp.zeros(t.shape, t.dtype), theta)

        xi = over_pairs(problem, zero, jax.random.split(key, self.pairs))
        return PESState(
            twice(problem, self.init_staggered(problem, theta, key, over_pairs, self.pairs)), xi
        )

    def gradient(
        self, problem: Problem, theta: Theta, state: PESState, key: Array
    ) -> tuple[Theta, PESState, Metrics]:
        noise_key, fresh_key = jax.random.split(key)
        noise = normal_like(problem, noise_key, theta, self.pairs, self.sigma)
        xi = jax.tree.map(jnp.add, state.xi, noise)
        thetas = antithetic(problem, theta, noise)
        runs, losses = self.advance(problem, thetas, state.staggered.runs)
        means, lost, metrics = measure(problem, losses, self.loss_cap)
        gradient = es_gradient(problem, xi, means, self.sigma)
        fresh = twice(problem, self.init_runs(problem, theta, fresh_key, over_pairs, self.pairs))
        staggered = state.staggered._replace(runs=runs)
        staggered, ended, restarted = restart(staggered, fresh, both(problem, lost))
        xi = choose(per_pair(problem, ended), jax.tree.map(jnp.zeros_like, xi), xi)
        return gradient, PESState(staggered, xi), metrics._replace(restarted=restarted)
