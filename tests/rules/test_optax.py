"""Learned optimizers among optax's transformations, and under JAX's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import lopt
from lopt.base.errors import UserError

RATE = 0.1
BASE = lopt.optimizer("base", RATE, total_steps=20)


def normal(seed):
    keys = jax.random.split(jax.random.key(seed))
    return {"b": jax.random.normal(keys[0], (2,)), "w": jax.random.normal(keys[1], (3, 2))}


PARAMS, GRADS = normal(0), normal(1)


@partial(jax.jit, static_argnums=0)
def updated(optimizer, grads, state, params, **extra):
    return optimizer.update(grads, state, params, **extra)


def first(optimizer, grads=GRADS, params=PARAMS, **extra):
    """The updates of the first step."""
    return updated(optimizer, grads, optimizer.init(params), params, **extra)[0]


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), a, b)


def test_it_reads_clipped_gradients_in_a_chain():
    chain = optax.chain(optax.clip(0.01), BASE, optax.scale(2.0))
    clipped = jax.tree.map(lambda g: jnp.clip(g, -0.01, 0.01), GRADS)
    close(first(chain), jax.tree.map(lambda u: 2 * u, first(BASE, clipped)))
    assert not np.allclose(first(BASE)["w"], first(BASE, clipped)["w"], rtol=0.01)


def test_masked_tensors_are_left_as_they_are():
    updates = first(optax.masked(BASE, {"b": False, "w": True}))
    equal(updates["b"], GRADS["b"])
    assert not np.allclose(updates["w"], GRADS["w"])


def test_each_part_of_a_partition_has_its_optimizer():
    parts = {
        "slow": lopt.optimizer("base", RATE / 10, total_steps=20),
        "frozen": optax.set_to_zero(),
    }
    updates = first(optax.partition(parts, {"b": "frozen", "w": "slow"}))
    equal(updates["b"], jnp.zeros(2))
    only = first(BASE, {"w": GRADS["w"]}, {"w": PARAMS["w"]})
    close(updates["w"], only["w"] / 10)


def test_multi_steps_averages_gradients():
    optimizer = optax.MultiSteps(BASE, every_k_schedule=2)
    grads = normal(2), normal(3)
    state = optimizer.init(PARAMS)
    nothing, state = updated(optimizer.gradient_transformation(), grads[0], state, PARAMS)
    equal(nothing, jax.tree.map(jnp.zeros_like, PARAMS))
    updates, _ = updated(optimizer.gradient_transformation(), grads[1], state, PARAMS)
    close(updates, first(BASE, jax.tree.map(lambda a, b: (a + b) / 2, *grads)))


def test_hyperparameters_can_be_injected():
    optimizer = optax.inject_hyperparams(lopt.optimizer)(
        "base", learning_rate=RATE, total_steps=20, weight_decay=0.5
    )
    state = optimizer.init(PARAMS)
    decayed = updated(optimizer, GRADS, state, PARAMS)[0]
    close(decayed, jax.tree.map(lambda u, p: u - RATE * 0.5 * p, first(BASE), PARAMS))
    state.hyperparams["learning_rate"] = jnp.float32(2 * RATE)
    twice = updated(optimizer, GRADS, state, PARAMS)[0]
    close(twice, jax.tree.map(lambda u: 2 * u, decayed))


def test_apply_if_finite_passes_over_gradients_that_are_not():
    optimizer = optax.apply_if_finite(BASE, max_consecutive_errors=3)
    bad = {**GRADS, "b": jnp.array([jnp.nan, 1.0])}
    updates, state = updated(optimizer, bad, optimizer.init(PARAMS), PARAMS)
    equal(updates, jax.tree.map(jnp.zeros_like, PARAMS))
    close(updated(optimizer, GRADS, state, PARAMS)[0], first(BASE))


def quadratic(params):
    return sum(jnp.sum((p - 1) ** 2) for p in jax.tree.leaves(params))


def train(optimizer, params, state, steps):
    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(quadratic)(params), state, params)
        return (optax.apply_updates(params, updates), state), quadratic(params)

    return jax.lax.scan(step, (params, state), None, length=steps)


def test_schedule_free_trains_with_it():
    optimizer = optax.contrib.schedule_free(BASE, learning_rate=RATE)

    @jax.jit
    def run(params):
        (params, state), losses = train(optimizer, params, optimizer.init(params), 20)
        return quadratic(optax.contrib.schedule_free_eval_params(state, params)), losses[0]

    last, before = run(PARAMS)
    assert last < 0.7 * before


def test_tree_utilities_find_the_state():
    state = BASE.init(PARAMS)
    assert int(optax.tree.get(state, "ignored")) == 0
    state = optax.tree.set(state, ignored=jnp.int32(3))
    assert int(optax.tree.get(state, "ignored")) == 3


@pytest.mark.parametrize("spec_is_given", [True, False])
def test_tree_map_params_maps_averages_only(spec_is_given):
    axes = {"b": lopt.Axes("out"), "w": lopt.Axes("in", "out")}
    spec = lopt.PermutationSpec(axes, {"in": 3, "out": 2}) if spec_is_given else None
    optimizer = lopt.optimizer("base", RATE, total_steps=20, spec=spec)
    state = optimizer.init(PARAMS)
    mapped = optax.tree_map_params(optimizer, lambda x: x + 1, state)
    assert int(optax.tree.get(mapped, "count")) == 0
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    equal(optax.tree.get(mapped, "averages"), {"momentum": ones})
    equal(optax.tree.get(mapped, "tensors"), optax.tree.get(state, "tensors"))


def test_extra_arguments_pass_through():
    plateau = optax.contrib.reduce_on_plateau(patience=1, factor=0.5)
    updates = first(optax.chain(BASE, plateau), value=jnp.float32(1.0), grad=GRADS)
    close(updates, first(BASE))


def test_weight_decay_is_decoupled_scheduled_and_masked():
    half = optax.constant_schedule(RATE / 2)
    plain = first(lopt.optimizer("base", half, 20))
    close(plain, jax.tree.map(lambda u: u / 2, first(BASE)))
    for mask in ({"b": False, "w": True}, lambda p: jax.tree.map(lambda x: x.ndim > 1, p)):
        updates = first(lopt.optimizer("base", half, 20, weight_decay=0.5, mask=mask))
        close(updates["b"], plain["b"])
        close(updates["w"], plain["w"] - RATE / 2 * 0.5 * PARAMS["w"])


@pytest.mark.parametrize("decay", ["0.1", None])
def test_a_weight_decay_that_is_none_is_refused(decay):
    with pytest.raises(UserError, match="weight decay must be"):
        lopt.optimizer("base", RATE, 20, weight_decay=decay)


def test_what_is_loaded_within_a_traced_function_is_constant():
    def loaded():
        theta = lopt.load("base").theta
        assert not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(theta))
        return jnp.zeros(())

    jax.eval_shape(loaded)


def test_init_can_be_traced_for_shapes():
    shapes = jax.eval_shape(BASE.init, PARAMS)
    state = BASE.init(PARAMS)
    assert jax.tree.structure(shapes) == jax.tree.structure(state)
    assert jax.tree.map(lambda s: (s.shape, s.dtype), shapes) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )


def test_models_can_be_vmapped():
    params = jax.tree.map(lambda *xs: jnp.stack(xs), normal(4), normal(5))
    grads = jax.tree.map(lambda *xs: jnp.stack(xs), normal(6), normal(7))
    together = jax.jit(jax.vmap(lambda g, p: BASE.update(g, BASE.init(p), p)[0]))(grads, params)
    for i in range(2):
        grad, param = normal(6 + i), normal(4 + i)
        one = jax.tree.map(lambda x, i=i: x[i], together)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), one, first(BASE, grad, param))


@pytest.fixture(scope="module")
def step():
    """A step that reuses the memory of params and state."""

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        updates, state = BASE.update(jax.grad(quadratic)(params), state, params)
        return optax.apply_updates(params, updates), state

    return step


def test_donated_steps_are_those_of_a_scan(step):
    params, state = jax.tree.map(jnp.copy, PARAMS), BASE.init(PARAMS)
    scanned, _ = jax.jit(lambda p: train(BASE, p, BASE.init(p), 3))(PARAMS)
    for _ in range(3):
        given, (params, state) = (params, state), step(params, state)
        assert all(x.is_deleted() for x in jax.tree.leaves(given))
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), (params, state), scanned)


def test_a_restored_state_goes_on_bit_for_bit(step, tmp_path):
    run = step(jax.tree.map(jnp.copy, PARAMS), BASE.init(PARAMS))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", run)
        checkpointer.wait_until_finished()
        abstract = jax.eval_shape(lambda: (PARAMS, BASE.init(PARAMS)))
        restored = checkpointer.restore(tmp_path / "state", abstract)
    equal(restored, run)
    equal(step(*restored), step(*run))
