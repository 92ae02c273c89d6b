"""What meta-training minimizes, against what the objectives say of themselves."""

import jax.numpy as jnp
import numpy as np
import pytest

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.meta import OBJECTIVES

LENGTH = 2000
LOSSES = jnp.asarray(np.random.RandomState(0).uniform(0.1, 2.0, LENGTH), jnp.float32)
FRACTION = jnp.arange(LENGTH, dtype=jnp.int32) / LENGTH


@pytest.mark.parametrize("steps", [50, 300, 2000])
def test_the_end_is_the_mean_of_the_last_steps(steps):
    objective = build(OBJECTIVES, f"end(part={steps / LENGTH})")
    found = objective(LOSSES, FRACTION)
    np.testing.assert_allclose(found.mean(), LOSSES[-steps:].mean(), rtol=1e-5)
    assert not found[:-steps].any()


def test_log_losses_tend_to_the_last_one_as_their_power_grows():
    falling = jnp.exp(-3 * FRACTION)
    means = [
        build(OBJECTIVES, f"log(power={p}, floor=1e-6)")(falling, FRACTION).mean()
        for p in (0.0, 2.0, 100.0)
    ]
    np.testing.assert_allclose(means[0], jnp.log(falling).mean(), rtol=1e-3)
    assert means[0] > means[1] > means[2]
    np.testing.assert_allclose(means[2], jnp.log(falling[-1]), rtol=0.05)


@pytest.mark.parametrize("part", [0.0, -0.1, 1.5])
def test_an_end_that_is_no_part_of_a_run_is_refused(part):
    with pytest.raises(UserError, match="end: part"):
        build(OBJECTIVES, f"end(part={part})")
