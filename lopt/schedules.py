"""Learning-rate schedules by name."""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from lopt.errors import UserError
from lopt.parts import Parts


def _share(count: Array, steps: Array | int) -> Array:
    return jnp.clip(count / steps, 0, 1)


SCHEDULES = Parts(
    "schedule",
    constant=lambda peak, steps: lambda count: peak * jnp.ones(()),
    cosine=lambda peak, steps: (
        lambda count: peak * 0.5 * (1 + jnp.cos(jnp.pi * _share(count, steps)))
    ),
    linear=lambda peak, steps: lambda count: peak * (1 - _share(count, steps)),
)
"""name -> (peak learning rate, steps) -> optax schedule; peak and steps may be traced."""


def scale_over_run(schedule: str, peak: float) -> optax.GradientTransformationExtraArgs:
    """Scale by minus a learning rate that is scheduled over the length of the run.

    Args:
      schedule: a name in `SCHEDULES`.
      peak: the highest learning rate.

    Returns:
      A transformation whose `update` needs the extra argument `total_steps`, which may be traced.

    Raises:
      UserError: for an unknown schedule; by `update` without `total_steps`.

    Example:
      >>> optimizer = scale_over_run("linear", peak=0.1)
      >>> state = optimizer.init(jnp.ones(()))
      >>> _, state = optimizer.update(jnp.ones(()), state, total_steps=2)
      >>> step, state = optimizer.update(jnp.ones(()), state, total_steps=2)
      >>> float(step)
      -0.05000000074505806
    """
    over = SCHEDULES[schedule]

    def update(
        updates: PyTree[Array],
        state: optax.ScaleByScheduleState,
        params: PyTree[Array] | None = None,
        *,
        total_steps: Array | int | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree[Array], optax.ScaleByScheduleState]:
        if total_steps is None:
            raise UserError("the learning rate follows the length of the run: pass total_steps")
        scale = optax.scale_by_schedule(lambda count: -over(peak, total_steps)(count))
        return scale.update(updates, state, params)

    def init(params: PyTree[Array]) -> optax.ScaleByScheduleState:
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    return optax.GradientTransformationExtraArgs(init, update)
