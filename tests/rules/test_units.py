"""The unit in which each tensor's gradients are read, and which ones count."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lopt
from lopt.rules import UNFRule
from lopt.rules.units import Reading, averaged, debiased, init_unit, read

G = jnp.array([[0.5, -2.0], [1.0, 0.25]])
DECAY = 0.9


def after(grads):
    """Averages of first and second order of a tensor in its unit, the last reading and gradient."""
    averages, unit = [jnp.zeros_like(G)] * 2, init_unit()
    for g in grads:
        r, unit = read(unit, g)
        averages = [
            averaged(a, r.of(g) ** order, DECAY, r.change**order, r.moves)
            for order, a in enumerate(averages, start=1)
        ]
    return averages, r, r.of(grads[-1])


def test_units_do_not_change_averages():
    scales = (1.0, 30.0, 3.0, 0.01, 2.0)
    averages, r, _ = after([s * G for s in scales])
    for order, average in enumerate(averages, start=1):
        plain = 0.0
        for s in scales:
            plain = 0.9 * plain + 0.1 * (s * G) ** order
        plain = plain / (1 - 0.9 ** len(scales))
        found = debiased(average, DECAY, r.count) * r.unit**order
        np.testing.assert_allclose(found, plain, rtol=1e-5)


@pytest.mark.parametrize("scale", [2.0**-100, 1.0, 2.0**100])
def test_a_power_of_two_changes_the_unit_alone(scale):
    averages, _, _ = after([G, 3 * G, 2 * G])
    others, r, _ = after([scale * G, scale * 3 * G, scale * 2 * G])
    jax.tree.map(np.testing.assert_array_equal, others, averages)
    assert 0.5 <= float(r.unit) / scale <= 8


@pytest.mark.parametrize("nothing", [0.0, 1e-45, 1e-20])
def test_gradients_that_say_nothing_leave_averages_as_they_are(nothing):
    before, _, _ = after([G, 2 * G])
    averages, r, _ = after([G, 2 * G, nothing * G])
    jax.tree.map(np.testing.assert_array_equal, averages, before)
    assert not r.moves
    assert int(r.count) == 2


@pytest.mark.parametrize("scale", [1e3, 1e20, 1e38])
def test_a_spike_counts_as_five_times_the_usual_size(scale):
    _, r, g = after([G] * 5 + [scale * G])
    np.testing.assert_allclose(jnp.max(jnp.abs(g)) * r.unit, 5 * 2.0, rtol=1e-3)
    np.testing.assert_allclose(g / jnp.max(jnp.abs(g)), G / 2.0, rtol=1e-5)
    assert r.moves
    assert not r.usual


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_gradients_that_stay_of_another_size_are_usual_in_the_end(scale):
    _, r, g = after([G] * 5 + [scale * G] * 150)
    assert r.usual
    np.testing.assert_allclose(g * r.unit, scale * G, rtol=1e-5)


def test_stacked_tensors_are_read_as_single_ones_are():
    """A slice without a gradient, one with a spike, one as usual."""
    steps = [jnp.stack([G, G, G]), jnp.stack([0 * G, 1e20 * G, 2 * G])]
    together = jax.vmap(lambda *grads: after(grads))(*steps)
    for i in range(3):
        alone = after([s[i] for s in steps])
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), together, alone)


@pytest.mark.parametrize("scale", [1e-30, 1e20, 1e38])
def test_a_rule_over_params_reads_gradients_of_any_size(scale, space):
    rule = UNFRule(widths=(4,))
    theta = rule.init(jax.random.key(0), space.spec)
    optimizer = rule.optimizer(theta, 0.1, space.spec)
    grads = jax.tree.map(lambda g: scale * jnp.clip(g, -1, 1), space.random(1))
    state = optimizer.init(space.params)
    for _ in range(2):
        updates, state = jax.jit(optimizer.update)(grads, state, space.params)
    assert all(np.isfinite(u).all() for u in jax.tree.leaves((updates, state)))
    assert all(np.any(u) for u in jax.tree.leaves(updates))


def plainly(state, grad):
    """The gradient in its own unit; every one counts."""
    one, yes, count = jnp.float32(1), jnp.bool_(True), state.taken + 1
    return Reading(one, one, one, one, count, yes, yes), state._replace(taken=count)


def test_without_insults_base_trains_as_if_there_were_no_units(space, monkeypatch):
    base = lopt.optimizer("base", total_steps=30, spec=space.spec)

    def run():
        def step(carry, seed):
            params, state = carry
            key = jax.random.fold_in(jax.random.key(7), seed)
            noise = optax.tree.random_like(key, params, jax.random.normal)
            grads = jax.tree.map(lambda p, n: 1e-3 * (p + 0.1 * n), params, noise)
            updates, state = base.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), updates

        start = space.params, base.init(space.params)
        return jax.jit(lambda start: jax.lax.scan(step, start, jnp.arange(20))[1])(start)

    updates = run()
    monkeypatch.setattr("lopt.rules.rotated.read", plainly)
    jax.clear_caches()
    for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(run()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
