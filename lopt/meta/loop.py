"""The outer loop: meta-gradients into an optax optimizer of theta."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from lopt.meta.estimator import Estimator, Problem
from lopt.meta.particles import Metrics, Theta


class MetaState(NamedTuple):
    """Everything that meta-training continues from.

    Attributes:
      theta: the meta-parameters.
      outer_state: the state of the outer optimizer.
      estimator_state: the state of the estimator, inner runs included.
      step: meta-steps taken.
      key: what all randomness is derived from, together with `step`.
    """

    theta: Theta
    outer_state: PyTree[Array]
    estimator_state: PyTree[Array]
    step: Int[Array, ""]
    key: Array


class Report(NamedTuple):
    """What is known of one meta-step.

    Attributes:
      inner: what the estimator saw.
      gradient_norm: of the meta-gradient.
      skipped: one if the meta-gradient was not finite and theta was left as it was.
    """

    inner: Metrics
    gradient_norm: Float[Array, ""]
    skipped: Int[Array, ""]


def begin(
    problem: Problem,
    estimator: Estimator,
    outer: optax.GradientTransformation,
    theta: Theta,
    key: Array,
) -> MetaState:
    """The state before the first meta-step."""
    init_key, loop_key = jax.random.split(key)

    @jax.jit
    def init(task: Any, theta: Theta) -> PyTree[Array]:
        return estimator.init(problem._replace(task=task), theta, init_key)

    step = jnp.zeros((), jnp.int32)
    return MetaState(theta, outer.init(theta), init(problem.task, theta), step, loop_key)


def make_step(
    problem: Problem, estimator: Estimator, outer: optax.GradientTransformation
) -> Callable[[MetaState], tuple[MetaState, Report]]:
    """One meta-step as one compiled call."""

    @jax.jit
    def step(task: Any, state: MetaState) -> tuple[MetaState, Report]:
        key = jax.random.fold_in(state.key, state.step)
        gradient, estimator_state, metrics = estimator.gradient(
            problem._replace(task=task), state.theta, state.estimator_state, key
        )
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(norm)

        def apply() -> tuple[Theta, PyTree[Array]]:
            updates, outer_state = outer.update(gradient, state.outer_state, state.theta)
            return optax.apply_updates(state.theta, updates), outer_state

        theta, outer_state = jax.lax.cond(finite, apply, lambda: (state.theta, state.outer_state))
        report = Report(metrics, norm, 1 - finite.astype(jnp.int32))
        return MetaState(theta, outer_state, estimator_state, state.step + 1, state.key), report

    return lambda state: step(problem.task, state)


def meta_train(
    problem: Problem,
    estimator: Estimator,
    outer: optax.GradientTransformation,
    state: MetaState,
    steps: int,
) -> Iterator[tuple[MetaState, Report]]:
    """Take meta-steps until `steps` are taken; yields after each.

    The next step is on its way before the results of the last are handed out, so that a consumer
    who reads them does not hold the device up.

    Args:
      problem: the task and the learned optimizer.
      estimator: how meta-gradients are estimated.
      outer: the optimizer of theta.
      state: from `begin`, or of an earlier meta-step.
      steps: meta-steps in all, those before `state` included.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from lopt.tasks import mlp
      >>> problem = Problem(mlp(widths=(4,)), lambda theta: optax.adam(jnp.exp(theta)))
      >>> estimator, outer = ES(pairs=2, horizon=3), optax.adam(0.1)
      >>> state = begin(problem, estimator, outer, jnp.float32(-7.0), jax.random.key(0))
      >>> for state, report in meta_train(problem, estimator, outer, state, steps=2):
      ...     loss = report.inner.meta_loss
      >>> int(state.step)
      2
    """
    take = make_step(problem, estimator, outer)
    done, pending = int(state.step), None
    for _ in range(done, steps):
        state, report = take(state)
        if pending is not None:
            yield pending
        pending = state, report
    if pending is not None:
        yield pending
