import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.base.errors import UserError
from lopt.base.schedules import SCHEDULES, scale_by_drawn_rate


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("constant", optax.constant_schedule(0.3)),
        ("cosine", optax.cosine_decay_schedule(0.3, 100)),
        ("linear", optax.linear_schedule(0.3, 0.0, 100)),
        ("warmup_cosine", optax.warmup_cosine_decay_schedule(0.0, 0.3, 5, 100)),
    ],
)
def test_schedules_are_those_of_optax_and_take_traced_arguments(name, theirs):
    counts = jnp.arange(120)
    ours = jax.jit(lambda peak, steps: jax.vmap(SCHEDULES[name](peak, steps))(counts))(0.3, 100)
    np.testing.assert_allclose(ours, jax.vmap(theirs)(counts), atol=1e-6)


def test_runs_draw_rates_log_uniformly_and_those_that_start_alike_draw_alike():
    starts = jax.random.normal(jax.random.key(0), (2000, 3))
    rates = np.asarray(jax.vmap(scale_by_drawn_rate(3.0).init)({"a": starts, "b": starts[:, 0]}))
    assert rates[0] == scale_by_drawn_rate(3.0).init({"a": starts[0], "b": starts[0, 0]})
    logs = np.log(rates) / np.log(3.0)
    assert -1 <= logs.min() < -0.99
    assert 0.99 < logs.max() <= 1
    quarters = np.quantile(logs, (0.25, 0.5, 0.75))
    np.testing.assert_allclose(quarters, (-0.5, 0.0, 0.5), atol=0.06)


def test_a_spread_below_one_is_refused():
    with pytest.raises(UserError, match="rate_spread"):
        scale_by_drawn_rate(0.5)
