"""Noise-reuse evolution strategies: one perturbation for a whole run, cut into truncations."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
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


class NRESState(NamedTuple):
    """What continues from one truncation to the next.

    Attributes:
      staggered: the inner runs, in the order of `antithetic`.
      noise: the perturbation of each pair's runs, (pairs, ...).
    """

    staggered: Staggered
    noise: Theta


@dataclass(frozen=True)
class NRES(Truncated):
    r"""Noise-reuse evolution strategies (Li, Harrison, Sohl-Dickstein, Smith & Metz, NeurIPS 2023).

    As PES, but each pair keeps the perturbation :math:`e_i \sim N(0, \sigma^2 I)` that it drew when
    its runs started, so that the gradient of a truncation is

    .. math:: g = \mathrm{mean}_i \; e_i \frac{L_i^+ - L_i^-}{2 \sigma^2},

    unbiased likewise, and of less variance wherever theta's earlier and later influence on a
    truncation's loss differ.

    Attributes:
      sigma: standard deviation of the perturbations; the others are those of `Truncated`.
    """

    sigma: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        set_checked(self, "NRES", sigma=POSITIVE)

    def init(self, problem: Problem, theta: Theta, key: Array) -> NRESState:
        noise_key, run_key = jax.random.split(key)
        noise = normal_like(problem, noise_key, theta, self.pairs, self.sigma)
        return NRESState(
            twice(problem, self.init_staggered(problem, theta, run_key, over_pairs, self.pairs)),
            noise,
        )

    def gradient(
        self, problem: Problem, theta: Theta, state: NRESState, key: Array
    ) -> tuple[Theta, NRESState, Metrics]:
        noise_key, fresh_key = jax.random.split(key)
        thetas = antithetic(problem, theta, state.noise)
        runs, losses = self.advance(problem, thetas, state.staggered.runs)
        means, lost, metrics = measure(problem, losses, self.loss_cap)
        gradient = es_gradient(problem, state.noise, means, self.sigma)
        fresh = twice(problem, self.init_runs(problem, theta, fresh_key, over_pairs, self.pairs))
        staggered = state.staggered._replace(runs=runs)
        staggered, ended, restarted = restart(staggered, fresh, both(problem, lost))
        new = normal_like(problem, noise_key, theta, self.pairs, self.sigma)
        noise = choose(per_pair(problem, ended), new, state.noise)
        return gradient, NRESState(staggered, noise), metrics._replace(restarted=restarted)
