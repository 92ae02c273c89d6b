"""A control: what of a learned optimizer's lead is its normalization."""

import jax
import optax

from lopt.rules.units import unit_rms


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
