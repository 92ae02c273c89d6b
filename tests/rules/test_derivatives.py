"""The derivative through updates: of a loss after some steps, with respect to where they start."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lopt

STEPS = 6


def draw(seed):
    """Params with one matrix longer than wide and one that is square."""
    keys = jax.random.split(jax.random.key(seed), 2)
    shapes = {"up": (4, 6), "over": (6, 6)}
    pairs = zip(keys, shapes.items(), strict=True)
    return {n: {"w": jax.random.normal(k, s) / 2, "b": jnp.full(6, 0.1)} for k, (n, s) in pairs}


def model(params, x):
    x = jnp.tanh(x @ params["up"]["w"] + params["up"]["b"])
    return x @ params["over"]["w"] + params["over"]["b"]


X, TEACHER = jax.random.normal(jax.random.key(2), (32, 4)), draw(5)


def loss(params):
    return jnp.mean((model(params, X) - model(TEACHER, X)) ** 2)


def after(scale, optimizer, steps):
    """The loss after steps from params times a number."""
    start = jax.tree.map(lambda p: scale * p, draw(1))

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), None, length=steps)
    return loss(params)


@pytest.fixture(scope="module")
def through_base():
    """The loss after six steps of "base" as a function of the scale, with its derivative."""
    spec = lopt.infer_spec(lambda params, x: jnp.sum(model(params, x)), draw(1), X)
    base = lopt.optimizer("base", total_steps=20, spec=spec)
    return jax.jit(jax.value_and_grad(lambda scale: after(scale, base, STEPS)))


def test_the_derivative_through_base_is_that_of_differences(through_base):
    """Bases and second moments that were constants to it would make it another from step three."""
    step = 1e-3
    up, down = (through_base(1 + sign * step)[0] for sign in (1, -1))
    np.testing.assert_allclose(through_base(1.0)[1], (up - down) / (2 * step), rtol=0.01)


def test_the_derivative_is_finite_where_gradients_are_zero(through_base):
    """At params of zero, the first gradients of all but one bias are."""
    grads = jax.grad(loss)(jax.tree.map(jnp.zeros_like, draw(1)))
    assert sum(bool(np.any(g)) for g in jax.tree.leaves(grads)) == 1
    assert np.isfinite(through_base(0.0)[1])
