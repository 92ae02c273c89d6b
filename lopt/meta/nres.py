"""Noise-reuse evolution strategies: one perturbation for a whole run, cut into truncations."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
from jaxtyping import Array

from lopt.meta.estimator import Metrics, Problem, Theta
from lopt.meta.particles import choose
from lopt.meta.staggered import Antithetic, Staggered


class NRESState(NamedTuple):
    """The state from one truncation to the next."""

    staggered: Staggered  # in the order of `antithetic`
    noise: Theta  # the perturbation of each pair's runs, (pairs, ...)


@dataclass(frozen=True)
class NRES(Antithetic):
    r"""Noise-reuse evolution strategies (Li, Harrison, Sohl-Dickstein, Smith & Metz, NeurIPS 2023).

    As PES, but each pair keeps the perturbation :math:`e_i \sim N(0, \sigma^2 I)` that it drew when
    its runs started, so that the gradient of a truncation is

    .. math:: g = \mathrm{mean}_i \; e_i \frac{L_i^+ - L_i^-}{2 \sigma^2},

    unbiased likewise, and of less variance wherever theta's earlier and later influence on a
    truncation's loss differ.
    """

    def init(self, problem: Problem, theta: Theta, key: Array) -> NRESState:
        noise_key, run_key = jax.random.split(key)
        noise = self.draw(problem, theta, noise_key)
        return NRESState(self.init_pairs(problem, theta, run_key), noise)

    def gradient(
        self, problem: Problem, theta: Theta, state: NRESState, key: Array
    ) -> tuple[Theta, NRESState, Metrics]:
        noise_key, fresh_key = jax.random.split(key)
        gradient, staggered, ended, metrics = self.truncation_gradient(
            problem, theta, state.noise, state.noise, state.staggered, fresh_key
        )
        new = self.draw(problem, theta, noise_key)
        return gradient, NRESState(staggered, choose(ended, new, state.noise)), metrics
