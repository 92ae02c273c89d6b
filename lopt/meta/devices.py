"""Where particles run: all devices of all processes, or the one that there is."""

import jax
import numpy as np

from lopt.base.errors import UserError
from lopt.meta.particles import PAIR, SIGN


def particle_mesh(particles: int) -> jax.sharding.Mesh | None:
    """A mesh over all devices of all processes; None where there is but one device.

    An even number of devices is halved: one half for each sign of the perturbations (see
    `particles.py`).

    Args:
      particles: inner runs at a time.

    Raises:
      UserError: if the particles cannot be spread evenly.
    """
    devices = jax.devices()
    if len(devices) == 1:
        return None
    if particles % len(devices):
        raise UserError(
            f"{particles} particles cannot be spread over {len(devices)} devices; let "
            f"the estimator's pairs be a multiple of {len(devices) // np.gcd(len(devices), 2)}"
        )
    if len(devices) % 2:
        return jax.sharding.Mesh(np.array(devices), (PAIR,))
    return jax.sharding.Mesh(np.array(devices).reshape(2, -1), (SIGN, PAIR))
