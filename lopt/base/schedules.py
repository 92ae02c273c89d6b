"""Learning-rate schedules by name."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from lopt.base.checks import POSITIVE, number
from lopt.base.errors import UserError
from lopt.base.parts import Parts

_WARMUP = 0.05
"""The fraction of a run over which a schedule warms up, as comparisons have it for baselines."""

Shape = Callable[[Array], Array]
"""Maps the fraction of a run that has passed to the fraction of the peak rate."""


def _warmup_cosine(fraction: Array) -> Array:
    """Linear from zero, then a cosine to zero over the rest."""
    fall = 0.5 * (1 + jnp.cos(jnp.pi * (fraction - _WARMUP) / (1 - _WARMUP)))
    return jnp.where(fraction < _WARMUP, fraction / _WARMUP, fall)


def _over_run(shape: Shape) -> Callable[..., optax.Schedule]:
    # optax' own schedules refuse a traced length, which `update` may be given.
    def schedule(peak: Any, steps: Any) -> optax.Schedule:
        return lambda count: peak * shape(jnp.clip(count / jnp.maximum(steps, 1), 0, 1))

    return schedule


SCHEDULES = Parts(
    "schedule",
    constant=_over_run(jnp.ones_like),
    cosine=_over_run(lambda fraction: 0.5 * (1 + jnp.cos(jnp.pi * fraction))),
    linear=_over_run(lambda fraction: 1 - fraction),
    warmup_cosine=_over_run(_warmup_cosine),
)
"""name -> (peak learning rate, steps) -> optax schedule; peak and steps may be traced."""


def run_length(total_steps: Any) -> Any:
    """The length of a run as it is used: a number of at least 1, or a traced one."""
    if not isinstance(total_steps, jax.core.Tracer):
        return number(1)("total_steps", total_steps)
    real = any(jnp.issubdtype(total_steps.dtype, kind) for kind in (jnp.integer, jnp.floating))
    if total_steps.shape or not real:
        raise UserError(f"total_steps must be one number, not {jax.typeof(total_steps)}")
    return total_steps


def require_length(why: str, total_steps: Any) -> Any:
    """The length of a run, which is needed; `why` is for the error if it is None."""
    if total_steps is None:
        raise UserError(
            f"{why}: pass total_steps, how many updates the run will have; where that is not known "
            "pass a guess, which can be corrected as the run goes (docs/training.md)"
        )
    return run_length(total_steps)


def scale_over_run(
    schedule: str, peak: float, total_steps: Array | int | None = None
) -> optax.GradientTransformationExtraArgs:
    """Scale by minus a learning rate that is scheduled over the length of the run.

    After the end of the run the rate stays at its last value, as in optax' schedules.

    Args:
      schedule: a name in `SCHEDULES`.
      peak: the highest learning rate.
      total_steps: the length of the run.

    Returns:
      A transformation whose `update` takes another length as the extra argument `total_steps`,
      which may be traced, and needs it where none was given here.

    Raises:
      UserError: for an unknown schedule, a rate that is no positive number, or a length below 1;
        by `update`, as `require_length`.

    Example:
      >>> optimizer = scale_over_run("linear", peak=0.1)
      >>> state = optimizer.init(jnp.ones(()))
      >>> _, state = optimizer.update(jnp.ones(()), state, total_steps=2)
      >>> step, state = optimizer.update(jnp.ones(()), state, total_steps=2)
      >>> float(step)
      -0.05000000074505806
    """
    over, peak = SCHEDULES[schedule], POSITIVE("peak", peak)
    given = None if total_steps is None else run_length(total_steps)

    def update(
        updates: PyTree[Array],
        state: optax.ScaleByScheduleState,
        params: PyTree[Array] | None = None,
        *,
        total_steps: Array | int | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree[Array], optax.ScaleByScheduleState]:
        told = given if total_steps is None else total_steps
        length = require_length("the learning rate follows the run's length", told)
        scale = optax.scale_by_schedule(lambda count: -over(peak, length)(count))
        return scale.update(updates, state, params)

    def init(params: PyTree[Array]) -> optax.ScaleByScheduleState:
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_drawn_rate(spread: float) -> optax.GradientTransformation:
    """Scale by a number that each run draws, log-uniform from 1 / spread to spread.

    In meta-training it makes a rule correct learning rates that are too high or too low. The key
    is the sum of the initial params, bit for bit: runs that start alike, such as an antithetic
    pair, draw the same number. The state holds it for a run that is resumed.
    """
    spread = number(1)("inner.rate_spread", spread)

    def init(params: PyTree[Array]) -> Array:
        total = sum(jnp.sum(p, dtype=jnp.float32) for p in jax.tree.leaves(params))
        key = jax.random.key(jax.lax.bitcast_convert_type(total, jnp.uint32))
        limit = math.log(spread)
        return jnp.exp(jax.random.uniform(key, minval=-limit, maxval=limit))

    def update(
        updates: PyTree[Array], state: Array, params: PyTree[Array] | None = None
    ) -> tuple[PyTree[Array], Array]:
        return jax.tree.map(lambda u: u * state, updates), state

    return optax.GradientTransformation(init, update)
