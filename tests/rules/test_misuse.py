import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.base.errors import UserError
from lopt.rules import RotatedRule, UNFRule
from lopt.symmetry import infer_spec

PARAMS = {"b": jnp.zeros(2), "w": jnp.ones((3, 2))}
RULES = {"rotated": RotatedRule(), "pointwise": UNFRule(layers="pointwise")}


@pytest.fixture(params=RULES)
def optimizer(request, space):
    rule = RULES[request.param]
    theta = rule.init(jax.random.key(0), space.spec)
    return rule.optimizer(theta, 0.1, total_steps=10)


FLOAT0 = np.zeros(2, jax.dtypes.float0)


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"w": jnp.ones((3, 2))}, r"\['b'\] has no gradient; .*optax.masked"),
        ({"b": None, "w": jnp.ones((3, 2))}, r"\['b'\] has no gradient"),
        ({"b": FLOAT0, "w": jnp.ones((3, 2))}, r"\['b'\] has no gradient"),
        ({"b": jnp.ones(3), "w": jnp.ones((3, 2))}, r"has shape \(2,\) and its gradient \(3,\)"),
        ({**PARAMS, "c": jnp.ones(1)}, r"\['c'\] has a gradient and is not in the params"),
        ({"b": jnp.ones(2, complex), "w": jnp.ones((3, 2))}, r"\['b'\] is complex"),
    ],
)
def test_gradients_that_do_not_fit_are_named(grads, message, optimizer):
    state = optimizer.init(PARAMS)
    with pytest.raises(UserError, match=message) as caught:
        optimizer.update(grads, state, PARAMS)
    assert "\n" not in str(caught.value)


def test_complex_params_are_refused(optimizer):
    with pytest.raises(UserError, match=r"\['b'\] is complex"):
        optimizer.init({**PARAMS, "b": jnp.ones(2, complex)})


def test_real_and_imaginary_parts_as_two_params_are_inferred_and_trained():
    """As the refusal of complex params says."""
    parts = {"re": jnp.ones((3, 4)), "im": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}

    def loss(params, x):
        w = jax.lax.complex(params["re"], params["im"])
        return jnp.mean((jnp.tanh(jnp.abs(x @ w)) @ params["out"]) ** 2)

    x = jnp.arange(15.0).reshape(5, 3) / 15
    spec = infer_spec(loss, parts, x)
    assert spec.axes["re"] == spec.axes["im"] != spec.axes["out"]
    rule = RotatedRule()
    optimizer = rule.optimizer(rule.init(jax.random.key(0), spec), 0.1, spec, total_steps=10)
    updates, _ = optimizer.update(jax.grad(loss)(parts, x), optimizer.init(parts), parts)
    assert all(np.abs(u).max() > 0 for u in jax.tree.leaves(updates))


def test_the_state_of_another_optimizer_is_refused(optimizer):
    state = optax.adamw(0.1).init(PARAMS)
    with pytest.raises(UserError, match="ScaleByAdamState"):
        optimizer.update(PARAMS, state, PARAMS)


@pytest.mark.parametrize("rate", ["0.1", None])
def test_a_learning_rate_that_is_none_is_refused(rate, space):
    rule = RotatedRule()
    theta = rule.init(jax.random.key(0), space.spec)
    with pytest.raises(UserError, match="must be a schedule"):
        rule.optimizer(theta, rate, total_steps=10)


def test_frozen_params_without_gradient_are_left_out_together(optimizer):
    """As equinox does it: None in the gradients where the params have None."""
    params, grads = {**PARAMS, "b": None}, {**PARAMS, "b": None}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    assert updates["b"] is None
    assert np.abs(updates["w"]).max() > 0


def test_there_is_one_count_of_steps(optimizer):
    state = optimizer.init(PARAMS)
    assert int(optax.tree.get(state, "count")) == 0
