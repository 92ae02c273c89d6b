"""A control: what of a learned optimizer's lead is its normalization."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def tensor_normalized_adam(
    learning_rate: optax.ScalarOrSchedule, b1: float = 0.9, b2: float = 0.999
) -> optax.GradientTransformation:
    """Adam with each tensor's direction scaled to unit root mean square.

    Rules that normalize their output beat Adam by that alone on some tasks.

    Args:
      learning_rate: the root mean square of a tensor's step.
      b1: decay of the momentum.
      b2: decay of the second moment.
    """
    return optax.chain(
        optax.scale_by_adam(b1, b2),
        optax.stateless(lambda updates, params: jax.tree.map(unit_rms, updates)),
        optax.scale_by_learning_rate(learning_rate),
    )


def unit_rms(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """A tensor scaled to unit root mean square; zero stays zero."""
    mean_square = jnp.mean(jnp.square(x))
    return x * jnp.where(mean_square > 0, jax.lax.rsqrt(mean_square), 0.0)
