"""Persistent evolution strategies: unbiased gradients from truncated runs."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lopt.meta.estimator import Metrics, Problem, Theta
from lopt.meta.particles import choose, over_pairs
from lopt.meta.staggered import Antithetic, Staggered
from lopt.tasks import Task


class PESState(NamedTuple):
    """The state from one truncation to the next."""

    staggered: Staggered  # in the order of `antithetic`
    xi: Theta  # the sum of each pair's perturbations since its runs started, (pairs, ...)


@dataclass(frozen=True)
class PES(Antithetic):
    r"""Persistent evolution strategies (Vicol, Metz & Sohl-Dickstein, ICML 2021).

    Runs are cut into truncations; theta is updated after each. With a new perturbation
    :math:`e_i \sim N(0, \sigma^2 I)` per pair and truncation, :math:`\xi_i` their sum since the
    pair's runs started, and L the mean inner loss of the truncation,

    .. math:: g = \mathrm{mean}_i \; \xi_i \frac{L_i^+ - L_i^-}{2 \sigma^2},

    unbiased for the smoothed meta-loss of whole runs, up to theta's drift during a run.
    """

    def init(self, problem: Problem, theta: Theta, key: Array) -> PESState:
        def zero(task: Task, key: Array) -> Theta:
            return jax.tree.map(lambda t: jnp.zeros(t.shape, t.dtype), theta)

        xi = over_pairs(problem, zero, jax.random.split(key, self.pairs))
        return PESState(self.init_pairs(problem, theta, key), xi)

    def gradient(
        self, problem: Problem, theta: Theta, state: PESState, key: Array
    ) -> tuple[Theta, PESState, Metrics]:
        noise_key, fresh_key = jax.random.split(key)
        noise = self.draw(problem, theta, noise_key)
        xi = jax.tree.map(jnp.add, state.xi, noise)
        gradient, staggered, ended, metrics = self.truncation_gradient(
            problem, theta, noise, xi, state.staggered, fresh_key
        )
        xi = choose(ended, jax.tree.map(jnp.zeros_like, xi), xi)
        return gradient, PESState(staggered, xi), metrics
