"""What `total_steps` does: told when the optimizer is made, or later."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lopt
from lopt.base.errors import UserError
from lopt.base.schedules import scale_over_run

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(3, 2), "b": jnp.zeros(2)}


@partial(jax.jit, static_argnums=(0, 1))
def updates_of(optimizer, steps, lengths):
    """The updates of each step on the way to a minimum, with these lengths told in each."""

    def step(carry, length):
        params, state = carry
        grads = jax.tree.map(lambda p: 2 * (p - 3), params)
        extra = {} if length is None else {"total_steps": length}
        updates, state = optimizer.update(grads, state, params, **extra)
        return (optax.apply_updates(params, updates), state), updates

    start = PARAMS, optimizer.init(PARAMS)
    return jax.lax.scan(step, start, lengths, length=steps)[1]


def base(total_steps):
    return lopt.optimizer("base", total_steps=total_steps)


@pytest.mark.parametrize("made_for", [20, 2000])
def test_a_length_told_to_update_is_that_of_an_optimizer_made_for_it(made_for):
    told = updates_of(base(made_for), 50, jnp.full(50, 60))
    made = updates_of(base(60), 50, None)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-5), told, made)
    assert all(np.abs(u[-1]).max() > 0 for u in jax.tree.leaves(told))


def test_after_the_last_step_a_run_stands_still_until_it_is_told_a_larger_length():
    lengths = jnp.where(jnp.arange(50) < 40, 20, 100)
    for u in jax.tree.leaves(updates_of(base(20), 50, lengths)):
        moved = np.abs(u).reshape(50, -1).max(1) > 0
        np.testing.assert_array_equal(moved, (np.arange(50) < 20) | (np.arange(50) >= 40))


@pytest.mark.parametrize("length", [0, -5, "20", float("nan"), float("inf"), True, (3,)])
def test_what_is_no_length_is_refused(length):
    made = base(20)
    state = made.init(PARAMS)
    for attempt in (
        lambda: base(length),
        lambda: lopt.optimizer("base", 0.1, total_steps=length),
        lambda: made.update(PARAMS, state, PARAMS, total_steps=length),
        lambda: scale_over_run("linear", 0.1, length),
    ):
        with pytest.raises(UserError, match="total_steps must be") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_a_traced_length_is_one_number():
    made = base(20)
    with pytest.raises(UserError, match=r"total_steps .* int32\[2\]"):
        jax.eval_shape(
            lambda n: made.update(PARAMS, made.init(PARAMS), PARAMS, total_steps=n),
            jnp.array([20, 30]),
        )
