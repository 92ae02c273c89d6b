"""Truncated backpropagation through the unroll."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from lopt.meta.estimator import Metrics, Problem, Theta
from lopt.meta.particles import measure, over_particles
from lopt.meta.staggered import Staggered, Truncated, restart
from lopt.meta.unroll import Losses, Run, unroll
from lopt.tasks import Task


@dataclass(frozen=True)
class TBPTT(Truncated):
    r"""Truncated backpropagation through time (Werbos, 1990; Wu et al., arXiv 1803.02021).

    The gradient of a truncation's mean loss with respect to theta, what came before held fixed:

    .. math:: g = \mathrm{mean}_i \; \frac{\partial}{\partial \theta} L_i(\theta, \mathrm{run}_i),

    of low variance, and biased: how theta moved the run to where the truncation starts is left
    out. It is exact where `truncation` is `horizon`. There are `2 * pairs` runs, as many as the
    other estimators have, none of them perturbed. A run whose gradient is not finite counts zero in
    it, and as diverged.
    """

    def init(self, problem: Problem, theta: Theta, key: Array) -> Staggered:
        return self.init_staggered(problem, theta, key, over_particles, 2 * self.pairs)

    def gradient(
        self, problem: Problem, theta: Theta, state: Staggered, key: Array
    ) -> tuple[Theta, Staggered, Metrics]:
        def loss(theta: Theta, task: Task, run: Run) -> tuple[Array, tuple[Run, Losses]]:
            run, losses = unroll(task, problem.optimizer(theta), run, self.truncation)
            scaled = losses.values / problem.scale
            capped = jnp.where(scaled < self.loss_cap, scaled, self.loss_cap)
            return problem.objective(capped, losses.fraction).mean(), (run, losses)

        def one(task: Task, theta: Theta, run: Run) -> tuple[Theta, Array, tuple[Run, Losses]]:
            gradient, seen = jax.grad(loss, has_aux=True)(theta, task, run)
            return *_zero_unless_finite(gradient), seen

        thetas = jax.tree.map(lambda t: jnp.broadcast_to(t, (2 * self.pairs, *t.shape)), theta)
        gradients, finite, (runs, losses) = over_particles(problem, one, thetas, state.runs)
        _, lost, metrics = measure(problem, losses, self.loss_cap)
        sound = finite & (losses.values[:, -1] / problem.scale < self.loss_cap)
        fresh = self.init_runs(problem, theta, key, over_particles, 2 * self.pairs)
        staggered, _, restarted = restart(state._replace(runs=runs), fresh, lost)
        metrics = metrics._replace(diverged=1 - sound.mean(), restarted=restarted)
        return jax.tree.map(lambda g: g.mean(0), gradients), staggered, metrics


def _zero_unless_finite(gradient: Theta) -> tuple[Theta, Bool[Array, ""]]:
    finite = jnp.stack([jnp.isfinite(g).all() for g in jax.tree.leaves(gradient)]).all()
    return jax.tree.map(lambda g: jnp.where(finite, g, 0.0), gradient), finite
