"""What learned optimizers are compared with, and the settings that each is tried at."""

import numpy as np
import optax

from lopt.parts import Parts

BASELINES = Parts(
    "baseline",
    adam=optax.adam,
    sgdm=lambda learning_rate: optax.sgd(learning_rate, momentum=0.9),
)
"""name -> (learning-rate schedule -> optax transformation)."""

LEARNING_RATES = tuple(float(f"{x:.2g}") for x in np.logspace(-4, 0, 17))
"""Four to the decade, from 1e-4 to 1: every baseline is tried at each, under each schedule."""
