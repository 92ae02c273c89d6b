import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimized import NORMAL

from lopt.base.errors import UserError
from lopt.rules import UNFRule
from lopt.symmetry import SpecError
from lopt.tasks import mlp

KINDS = ["relational", "exact", "pointwise", ("pointwise", "exact")]


def theta_for(rule, space, seed=0):
    return rule.init(jax.random.key(seed), space.spec)


@functools.cache
def optimizer_for(rule, space):
    """A rule's optimizer at a rate of 0.1: one for all tests, whose programs compile once."""
    return rule.optimizer(theta_for(rule, space), 0.1, space.spec)


def train(optimizer, space, steps=4, permute=lambda tree: tree, options=None):
    update = jax.jit(optimizer.update, compiler_options=options)
    params = permute(space.params)
    state = optimizer.init(params)
    for seed in range(steps):
        updates, state = update(permute(space.random(seed + 1)), state, params)
        params = optax.apply_updates(params, updates)
    return params


def first_step(optimizer, params, grads):
    return jax.jit(optimizer.update)(grads, optimizer.init(params), params)


def trees_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize("layers", KINDS)
@pytest.mark.parametrize("step", ["normalized", "residual(beta=1.0)"])
def test_permuting_neurons_permutes_the_training(layers, step, space):
    rule = UNFRule(layers=layers, step=step)
    optimizer = optimizer_for(rule, space)
    permutations = space.spec.sample(jax.random.key(5))

    @jax.jit
    def permute(tree):
        return space.spec.permute(tree, permutations)

    plain, permuted = train(optimizer, space), train(optimizer, space, permute=permute)
    assert not np.allclose(plain["Dense_1"]["kernel"], permuted["Dense_1"]["kernel"])
    trees_close(permute(plain), permuted, atol=2e-4)


@pytest.mark.parametrize("layers", ["relational", "pointwise"])
def test_one_theta_fits_every_architecture(layers, space):
    rule = UNFRule(layers=layers)
    other = mlp(widths=(3, 4, 5))
    theta = theta_for(rule, space)
    params, _ = other.init(jax.random.key(0))
    updates, _ = first_step(rule.optimizer(theta, 0.1, other.spec), params, params)
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(updates))


def test_without_a_network_it_is_normalized_adam(space):
    rule = UNFRule(nominal="adam_direction(decays=(0.9,), second_decay=0.99)")
    theta = jax.tree.map(jnp.zeros_like, theta_for(rule, space))
    trained = train(rule.optimizer(theta, 0.1, space.spec), space, options=NORMAL)

    def unit(u):
        return jax.tree.map(lambda x: x / jnp.sqrt(jnp.mean(x**2)), u)

    adam = optax.scale_by_adam(0.9, 0.99)
    normalize = optax.stateless(lambda u, p: unit(u))
    expected = train(optax.chain(adam, normalize, optax.scale(-0.1)), space)
    trees_close(trained, expected, rtol=1e-3, atol=1e-5)


def test_without_a_network_the_residual_rule_is_momentum(space):
    rule = UNFRule(nominal="momentum(decays=(0.9,))", step="residual")
    theta = jax.tree.map(jnp.zeros_like, theta_for(rule, space))
    trained = train(rule.optimizer(theta, 0.1, space.spec), space)
    trees_close(trained, train(optax.chain(optax.ema(0.9), optax.scale(-0.1)), space), rtol=1e-4)


def test_steps_have_unit_rms_where_the_scale_is_not_learned(space):
    rule = UNFRule(step="normalized(strength=0.0)")
    optimizer = rule.optimizer(theta_for(rule, space), 0.5, space.spec)
    updates, _ = first_step(optimizer, space.params, space.random(1))
    for u in jax.tree.leaves(updates):
        np.testing.assert_allclose(np.sqrt(np.mean(u**2)), 0.5, rtol=1e-4)


def test_a_schedule_sets_the_size_of_each_step(space):
    rule = UNFRule(step="normalized(strength=0.0)")
    schedule = optax.linear_schedule(0.4, 0.1, 3)
    optimizer = rule.optimizer(theta_for(rule, space), schedule, space.spec)
    state, update = optimizer.init(space.params), jax.jit(optimizer.update)
    for step in range(4):
        updates, state = update(space.random(step), state, space.params)
        size = np.sqrt(np.mean(updates["Dense_0"]["kernel"] ** 2))
        np.testing.assert_allclose(size, schedule(step), rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_steps_have_the_type_of_the_gradients(dtype, space):
    rule = UNFRule()
    optimizer = optimizer_for(rule, space)
    params, grads = space.random(0, dtype), space.random(1, dtype)
    updates, state = first_step(optimizer, params, grads)
    assert {u.dtype for u in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}


def test_the_state_stays_float32_where_jax_takes_64_bits(space):
    rule = UNFRule()
    theta = theta_for(rule, space)
    with jax.enable_x64(True):
        optimizer = rule.optimizer(theta, 0.1, space.spec)

        def step(carry, grads):
            params, state = carry
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        start = space.params, optimizer.init(space.params)
        grads = jax.tree.map(lambda x: jnp.stack([x, x]), space.random(1))
        (params, _), _ = jax.jit(lambda start: jax.lax.scan(step, start, grads))(start)
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(params))


@pytest.mark.parametrize("layers", ["relational", "pointwise"])
def test_masked_tensors_are_left_alone(layers, space):
    rule = UNFRule(layers=layers)
    optimizer = optimizer_for(rule, space)
    only_kernels = jax.tree.map(lambda p: p.ndim > 1, space.params)
    frozen = jax.tree.map(lambda train: "train" if train else "freeze", only_kernels)
    masked = optax.masked(optimizer, only_kernels)
    partition = optax.partition({"train": optimizer, "freeze": optax.set_to_zero()}, frozen)
    grads = space.random(1)
    zeros = jax.tree.map(jnp.zeros_like, grads)
    for transformation, left in ((masked, grads), (partition, zeros)):
        updates, _ = first_step(transformation, space.params, grads)
        for layer, tensors in updates.items():
            np.testing.assert_array_equal(tensors["bias"], left[layer]["bias"])
            assert np.isfinite(tensors["kernel"]).all()
            assert not np.allclose(tensors["kernel"], grads[layer]["kernel"])


def test_nothing_to_train_is_no_mistake(space):
    optimizer = optimizer_for(UNFRule(), space)
    nothing = jax.tree.map(lambda p: False, space.params)
    updates, _ = first_step(optax.masked(optimizer, nothing), space.params, space.random(1))
    trees_close(updates, space.random(1))


def test_a_theta_tied_to_an_architecture_needs_all_of_it(space):
    rule = UNFRule(layers="exact")
    optimizer = optimizer_for(rule, space)
    only_kernels = jax.tree.map(lambda p: p.ndim > 1, space.params)
    with pytest.raises(SpecError, match="bias is in the spec"):
        optax.masked(optimizer, only_kernels).init(space.params)


def test_zero_gradients_and_params_give_finite_steps(space):
    rule = UNFRule()
    optimizer = optimizer_for(rule, space)
    zeros = jax.tree.map(jnp.zeros_like, space.params)
    updates, _ = first_step(optimizer, zeros, zeros)
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(updates))


def test_gradients_that_are_not_finite_count_as_zero_and_are_counted(space):
    optimizer = optimizer_for(UNFRule(), space)
    grads = space.random(1)
    bias = grads["Dense_0"].pop("bias")
    bad, good = (
        {**grads, "Dense_0": {**grads["Dense_0"], "bias": bias.at[:2].set(jnp.array(values))}}
        for values in ([jnp.nan, jnp.inf], [0.0, 0.0])
    )
    updates, state = first_step(optimizer, space.params, bad)
    trees_close(updates, first_step(optimizer, space.params, good)[0], rtol=0)
    assert int(optax.tree.get(state, "ignored")) == 2


def test_tensors_whose_gradients_are_zero_stand_still(space):
    rule = UNFRule()
    optimizer = optimizer_for(rule, space)
    grads = space.random(1)
    grads["Dense_1"] = jax.tree.map(jnp.zeros_like, grads["Dense_1"])
    updates, _ = first_step(optimizer, space.params, grads)
    for update in updates["Dense_1"].values():
        np.testing.assert_array_equal(update, 0)
    assert np.all(updates["Dense_0"]["kernel"] != 0)


def test_theta_vmaps(space):
    rule = UNFRule()
    thetas = [theta_for(rule, space, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *thetas)

    @jax.jit
    def step(theta):
        optimizer = rule.optimizer(theta, 0.1, space.spec)
        return optimizer.update(space.random(1), optimizer.init(space.params), space.params)[0]

    together = jax.vmap(step)(stacked)
    for i, theta in enumerate(thetas):
        one = jax.tree.map(lambda x, i=i: x[i], together)
        trees_close(one, step(theta), atol=1e-4)


def test_mistakes_are_named(space):
    with pytest.raises(UserError, match=r"'normalised'.* normalized"):
        UNFRule(step="normalised")
    with pytest.raises(UserError, match="momentum has 3"):
        UNFRule(nominal="momentum")
    with pytest.raises(UserError, match="unknown feature"):
        UNFRule(features=("wieght",))
    with pytest.raises(UserError, match="exakt"):
        UNFRule(layers="exakt")
    rule = UNFRule()
    theta = theta_for(rule, space)
    with pytest.raises(UserError, match="pass spec="):
        rule.optimizer(theta, 0.1)
    optimizer = rule.optimizer(theta, 0.1, space.spec)
    with pytest.raises(UserError, match="to update"):
        optimizer.update(space.params, optimizer.init(space.params))
    with pytest.raises(SpecError, match="Dense_9"):
        optimizer.init({**space.params, "Dense_9": jnp.ones(2)})
