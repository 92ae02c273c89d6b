"""Evolution strategies over whole inner runs."""

from dataclasses import dataclass

import jax
from jaxtyping import Array

from lopt.base.checks import POSITIVE, SIZE, checked
from lopt.meta.estimator import LOSS_CAP, Estimator, Metrics, Problem, Theta
from lopt.meta.particles import antithetic, es_gradient, measure, normal_like, over_particles, twice
from lopt.meta.unroll import Losses, whole_run
from lopt.tasks import Task


@dataclass(frozen=True)
@checked(pairs=SIZE, horizon=SIZE, sigma=POSITIVE, loss_cap=LOSS_CAP)
class ES(Estimator):
    r"""Antithetic evolution strategies (Rechenberg, 1973; Salimans et al., arXiv 1703.03864).

    With perturbations :math:`e_i \sim N(0, \sigma^2 I)` and L the mean inner loss of a run of
    `horizon` steps,

    .. math:: g = \mathrm{mean}_i \; e_i \frac{L(\theta + e_i) - L(\theta - e_i)}{2 \sigma^2},

    an unbiased gradient of the Gaussian-smoothed meta-loss. Both runs of a pair start from the
    same params and see the same batches.

    Attributes:
      pairs: antithetic pairs per gradient.
      horizon: inner steps of a run.
      sigma: standard deviation of the perturbations.
      loss_cap: inner losses above it, and NaN, count as this.
    """

    pairs: int = 8
    horizon: int = 100
    sigma: float = 0.01
    loss_cap: float = 10.0

    def init(self, problem: Problem, theta: Theta, key: Array) -> tuple[()]:
        return ()

    def gradient(
        self, problem: Problem, theta: Theta, state: tuple[()], key: Array
    ) -> tuple[Theta, tuple[()], Metrics]:
        noise_key, run_key = jax.random.split(key)
        noise = normal_like(problem, noise_key, theta, self.pairs, self.sigma)

        def one(task: Task, theta: Theta, key: Array) -> Losses:
            return whole_run(task, problem.optimizer(theta), key, self.horizon)

        keys = twice(problem, jax.random.split(run_key, self.pairs))
        losses = over_particles(problem, one, antithetic(problem, theta, noise), keys)
        means, _, metrics = measure(problem, losses, self.loss_cap)
        return es_gradient(problem, noise, means, self.sigma), state, metrics
