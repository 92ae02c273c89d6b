from functools import reduce
from operator import getitem

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimized import NORMAL

from lopt.base.errors import UserError
from lopt.rules import RotatedRule, scale_by_rotated
from lopt.symmetry import Axes, PermutationSpec
from lopt.tasks import mlp, transformer


def random_like(tree, seed, scale=1.0):
    """Random numbers in the place of theta's zeros, so that every gate is open."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    pairs = zip(keys, leaves, strict=True)
    return structure.unflatten([scale * jax.random.normal(k, jnp.shape(x)) for k, x in pairs])


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


def theta_of(rule, spec, scale=0.3):
    return random_like(rule.init(jax.random.key(0), spec), 7, scale)


def train(optimizer, params, grads, options=None, **extra):
    """The params after the steps and the last updates; trainings of one optimizer compile once."""
    update, state = jax.jit(optimizer.update, compiler_options=options), optimizer.init(params)
    for g in grads:
        updates, state = update(g, state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params, updates


COMPOSITE = {
    "query": Axes("stream", "heads", "width"),
    "out": Axes("heads*width", "stream"),
    "cell": Axes("inputs+stream", "stream"),
    "kernel": Axes("space", "space2", "inputs", "stream"),
    "bias": Axes("stream"),
    "gain": Axes(),
}
SIZES = {"stream": 4, "heads": 2, "width": 3, "inputs": 5, "space": 2, "space2": 2}


@pytest.fixture(scope="module")
def composite():
    spec = PermutationSpec(COMPOSITE, SIZES, fixed=("inputs", "space", "space2"))
    shapes = jax.tree.map(lambda axes: jnp.zeros(spec.shape(axes)), spec.axes)
    return spec, [random_like(shapes, seed) for seed in range(4)]


def test_permuting_neurons_permutes_the_training(composite):
    spec, (params, *grads) = composite
    rule = RotatedRule()
    theta = theta_of(rule, spec)
    optimizer = rule.optimizer(theta, 0.1, spec, total_steps=10)
    permutations = spec.sample(jax.random.key(5))

    @jax.jit
    def permute(tree):
        return spec.permute(tree, permutations)

    plain, _ = train(optimizer, params, grads)
    permuted, _ = train(optimizer, permute(params), [permute(g) for g in grads])
    assert not np.allclose(plain["cell"], permuted["cell"], atol=1e-2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), permute(plain), permuted)


def test_a_theta_of_zeros_is_the_direction_over_the_size_of_what_comes_in(space):
    rule = RotatedRule()
    theta = jax.tree.map(jnp.zeros_like, rule.init(jax.random.key(0), space.spec))
    grads = space.random(1)
    optimizer = rule.optimizer(theta, 0.5, space.spec, total_steps=1000)
    _, updates = train(optimizer, space.params, [grads], options=NORMAL)
    alone = optax.chain(scale_by_rotated(space.spec), optax.scale(-0.5))
    _, directions = train(alone, space.params, [grads], options=NORMAL)
    g, bias = grads["Dense_1"]["kernel"], grads["Dense_1"]["bias"]
    inputs = np.sqrt(g.shape[0]) * rms(g) / rms(bias)
    got, direction = updates["Dense_1"], directions["Dense_1"]
    np.testing.assert_allclose(got["kernel"], direction["kernel"] / inputs, rtol=1e-4)
    np.testing.assert_allclose(got["bias"], -0.5 * np.sign(bias), rtol=1e-4)


def test_untrained_steps_go_with_a_root_of_one_over_the_length(space):
    rule = RotatedRule()
    theta = jax.tree.map(jnp.zeros_like, rule.init(jax.random.key(0), space.spec))
    optimizer = rule.optimizer(theta, 0.1, space.spec)
    grads = space.random(1)
    at_1000, at_250, at_16000 = (
        train(optimizer, space.params, [grads], options=NORMAL, total_steps=steps)[1]
        for steps in (1000, 250, 16000)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(2 * a, b, rtol=1e-5), at_1000, at_250)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 2 * b, rtol=1e-5), at_1000, at_16000)


def test_a_matrix_is_trained_alike_whichever_side_comes_first():
    params = {"conv": {"w": jnp.zeros((3, 2, 4, 5))}, "dense": {"w": jnp.zeros((5, 6))}}
    axes = {"conv": {"w": Axes("x", "y", "in", "h")}, "dense": {"w": Axes("h", "out")}}
    spec = PermutationSpec.for_params(axes, params, fixed=("x", "y", "in", "out"))
    other = {
        "conv": {"w": Axes("h", "in", "x", "y", roles=("output", "input", "spatial", "spatial"))},
        "dense": {"w": Axes("out", "h", roles=("output", "input"))},
    }
    other_spec = PermutationSpec(other, spec.sizes, spec.fixed)
    params, *grads = (random_like(params, seed) for seed in range(4))

    def turned(tree):
        return {
            "conv": {"w": tree["conv"]["w"].transpose(3, 2, 0, 1)},
            "dense": {"w": tree["dense"]["w"].T},
        }

    rule = RotatedRule()
    theta = theta_of(rule, spec)
    _, updates = train(rule.optimizer(theta, 0.1, spec, 10), params, grads, NORMAL)
    _, others = train(
        rule.optimizer(theta, 0.1, other_spec, 10), turned(params), list(map(turned, grads)), NORMAL
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), turned(updates), others
    )


def test_steps_of_tables_do_not_shrink_with_their_rows_and_those_of_other_matrices_do():
    """Also: a bias that has heads as an axis of its own is a vector."""
    task = transformer(width=8, depth=1, heads=2, length=6)
    params, _ = task.init(jax.random.key(0))
    rule = RotatedRule()
    theta = jax.tree.map(jnp.zeros_like, rule.init(jax.random.key(0), task.spec))
    optimizer = rule.optimizer(theta, 0.5, task.spec, total_steps=1000)
    grads = random_like(params, 1)
    _, updates = train(optimizer, params, [grads])
    for table in (updates["Embed_0"]["embedding"], updates["positions"]):
        np.testing.assert_allclose(rms(table), 0.5, rtol=1e-3)
    attention = ("Block_0", "MultiHeadDotProductAttention_0")
    for path, fan_in in (
        (("Dense_0",), 8),
        (("Block_0", "Dense_1"), 32),
        ((*attention, "query"), 8),
        ((*attention, "out"), 8),
    ):
        update, gradient = (reduce(getitem, path, tree) for tree in (updates, grads))
        inputs = np.sqrt(fan_in) * rms(gradient["kernel"]) / rms(gradient["bias"])
        np.testing.assert_allclose(rms(update["kernel"]), 0.5 / inputs, rtol=1e-3)
        np.testing.assert_allclose(update["bias"], -0.5 * np.sign(gradient["bias"]), rtol=1e-4)
    assert update["bias"].shape == (8,)
    assert gradient["kernel"].shape == (2, 4, 8)


def test_a_group_that_is_not_said_to_be_looked_up_is_summed_over():
    """Fixed groups of a spec by hand, and a convolution's window beside its inputs."""
    axes = {"w": Axes("in", "out"), "kernel": Axes("Conv.space", "input", "h")}
    spec = PermutationSpec(
        axes,
        {"in": 4, "out": 3, "Conv.space": 3, "input": 2, "h": 5},
        fixed=("in", "out", "Conv.space", "input"),
    )
    params = jax.tree.map(lambda a: jnp.ones(spec.shape(a)), spec.axes)
    rule = RotatedRule()
    theta = jax.tree.map(jnp.zeros_like, rule.init(jax.random.key(0), spec))
    optimizer = rule.optimizer(theta, 1.0, spec, total_steps=1000)
    _, updates = train(optimizer, params, [random_like(params, 3)])
    for name, fan_in in (("w", 4), ("kernel", 6)):
        np.testing.assert_allclose(rms(updates[name]), 1 / np.sqrt(fan_in), rtol=1e-3)


def test_one_theta_fits_every_architecture_with_and_without_a_spec(space):
    rule = RotatedRule()
    theta = theta_of(rule, space.spec)
    other = mlp(widths=(3, 4, 5))
    params, _ = other.init(jax.random.key(0))
    for spec in (other.spec, None):
        _, updates = train(rule.optimizer(theta, 0.1, spec, total_steps=9), params, [params])
        assert all(np.isfinite(u).all() for u in jax.tree.leaves(updates))


@pytest.mark.parametrize("spec_is_given", [True, False])
def test_a_gradient_that_was_always_zero_gives_a_step_of_zero(spec_is_given, space):
    rule = RotatedRule()
    spec = space.spec if spec_is_given else None
    grads = space.random(1)
    grads["Dense_1"] = jax.tree.map(jnp.zeros_like, grads["Dense_1"])
    optimizer = rule.optimizer(theta_of(rule, space.spec), 0.1, spec, total_steps=9)
    _, updates = train(optimizer, space.params, [grads] * 3)
    for u in jax.tree.leaves(updates["Dense_1"]):
        np.testing.assert_array_equal(u, 0)
    assert np.all(updates["Dense_0"]["kernel"] != 0)


@pytest.mark.parametrize("shape", [(), (1,), (5,)])
def test_vectors_and_scalars_step_less_as_their_gradient_falls(shape):
    rule = RotatedRule()
    params = {"x": jnp.ones(shape)}
    spec = PermutationSpec(
        {"x": Axes(*(f"a{i}" for i in range(len(shape))))},
        {f"a{i}": n for i, n in enumerate(shape)},
    )
    theta = jax.tree.map(jnp.zeros_like, rule.init(jax.random.key(0), spec))
    optimizer = rule.optimizer(theta, 0.1, spec, total_steps=99)
    grads = [{"x": jnp.full(shape, 1.0)}] * 3 + [{"x": jnp.full(shape, 1e-6)}] * 40
    _, large = train(optimizer, params, grads[:3])
    _, small = train(optimizer, params, grads)
    assert np.all(np.abs(large["x"]) > 0.05)
    assert np.all(np.abs(small["x"]) < 0.3 * np.abs(large["x"]))


def test_gradients_that_are_not_finite_count_as_zero_and_are_counted(space):
    rule = RotatedRule()
    optimizer = rule.optimizer(theta_of(rule, space.spec), 0.1, space.spec, total_steps=9)
    bad = space.random(1)
    bad["Dense_0"]["bias"] = bad["Dense_0"]["bias"].at[:2].set(jnp.array([jnp.nan, jnp.inf]))
    good = space.random(1)
    good["Dense_0"]["bias"] = good["Dense_0"]["bias"].at[:2].set(0.0)
    state = optimizer.init(space.params)
    update = jax.jit(optimizer.update)
    updates, state = update(bad, state, space.params)
    expected, _ = update(good, optimizer.init(space.params), space.params)
    jax.tree.map(np.testing.assert_array_equal, updates, expected)
    assert int(optax.tree.get(state, "ignored")) == 2


def test_the_length_of_the_run_is_needed_and_may_be_traced(space):
    rule = RotatedRule()
    theta = theta_of(rule, space.spec)
    without = rule.optimizer(theta, 0.1, space.spec)
    with pytest.raises(UserError, match="pass total_steps"):
        train(without, space.params, [space.random(1)])
    _, told = train(without, space.params, [space.random(1)], total_steps=jnp.int32(50))
    given = rule.optimizer(theta, 0.1, space.spec, total_steps=50)
    _, fixed = train(given, space.params, [space.random(1)])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), told, fixed)


def test_momenta_take_half_the_memory_in_half_precision(space):
    def dtypes(dtype):
        rule = RotatedRule(momentum_dtype=dtype)
        optimizer = rule.optimizer(theta_of(rule, space.spec), 0.1, space.spec, total_steps=9)
        state = jax.eval_shape(optimizer.init, space.params)
        trees = optax.tree.get(state, "averages"), optax.tree.get(state, "tensors")
        return [{x.dtype.name for x in jax.tree.leaves(tree)} for tree in trees]

    assert dtypes("float32") == [{"float32"}, {"float32", "int32"}]
    assert dtypes("bfloat16") == [{"bfloat16"}, {"float32", "int32"}]


def test_the_bases_of_matrices_are_state_and_move_on(space):
    rule = RotatedRule()
    optimizer = rule.optimizer(theta_of(rule, space.spec), 0.1, space.spec, total_steps=9)
    state = start = optimizer.init(space.params)
    for seed in range(12):
        _, state = optimizer.update(space.random(seed), state, space.params)
    assert jax.tree.structure(state) == jax.tree.structure(start)
    moments = optax.tree.get(state, "tensors")["Dense_1"]["kernel"].moments
    rows, columns = space.params["Dense_1"]["kernel"].shape
    assert rows != columns
    assert moments.long.shape == (max(rows, columns), min(rows, columns))
    assert not np.allclose(moments.short, np.eye(len(moments.short)), atol=1e-3)
    for basis in (moments.short, moments.long):
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(moments.short)), atol=0.1)


@pytest.mark.parametrize(
    ("name", "value"), [("width", 0), ("decay", 1.0), ("power", 2.0), ("momentum_dtype", "int8")]
)
def test_mistakes_are_named(name, value):
    with pytest.raises(UserError, match=rf"rotated.*{name}|{name}.*{value}"):
        RotatedRule(**{name: value})
