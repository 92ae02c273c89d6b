"""Learning-rate schedules by name."""

import optax

from lopt.parts import Parts

SCHEDULES = Parts(
    "schedule",
    constant=lambda peak, steps: optax.constant_schedule(peak),
    cosine=lambda peak, steps: optax.cosine_decay_schedule(peak, steps),
)
"""name -> (peak learning rate, steps) -> optax schedule; the peak may be traced."""
