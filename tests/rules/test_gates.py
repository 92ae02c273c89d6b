from functools import reduce
from operator import getitem

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimized import NORMAL

from lopt.base.errors import UserError
from lopt.rules import GatesRule
from lopt.symmetry import Axes, PermutationSpec
from lopt.tasks import mlp, transformer

SHARINGS = ["tensor", "axis", "group"]


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


@pytest.mark.parametrize("sharing", SHARINGS)
def test_permuting_neurons_permutes_the_training(sharing, composite):
    spec, (params, *grads) = composite
    rule = GatesRule(
        directions=("orthogonal(power=0.5)", "adam", "momentum", "rotated"),
        weights=(0.0,) * 4,
        decays=(0.8, 0.95, 0.99),
        sharing=sharing,
    )
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


def test_only_group_sharing_mixes_over_the_axes_of_a_neuron(space):
    """A neuron's outgoing weights move its incoming ones where its axes share a group only."""
    grads = space.random(1)
    loud = jax.tree.map(lambda g: g, grads)
    loud["Dense_1"]["kernel"] = loud["Dense_1"]["kernel"].at[2].mul(100.0)

    def change(sharing):
        rule = GatesRule(directions=("adam",), sharing=sharing)
        theta = theta_of(rule, space.spec)
        for name in ("pool", "unit_context"):
            theta["params"] = {
                k: jnp.zeros_like(v) if k == name else v for k, v in theta["params"].items()
            }
        optimizer = rule.optimizer(theta, 1.0, space.spec, total_steps=10)
        loud_updates, updates = (train(optimizer, space.params, [g])[1] for g in (loud, grads))
        return np.abs(loud_updates["Dense_0"]["kernel"] / updates["Dense_0"]["kernel"] - 1).max(0)

    for sharing in SHARINGS:
        assert (change(sharing)[2] > 1e-3) == (sharing == "group")


def test_a_theta_of_zeros_is_the_mixture_by_hand(space):
    """Unit steps of the momentum and of Adam in equal parts, over the size of what comes in."""
    rule = GatesRule(directions=("momentum", "adam"), weights=(0.0, 0.0))
    theta = jax.tree.map(jnp.zeros_like, rule.init(jax.random.key(0), space.spec))
    grads = space.random(1)
    optimizer = rule.optimizer(theta, 0.5, space.spec, total_steps=1000)
    _, updates = train(optimizer, space.params, [grads], options=NORMAL)
    g, got = grads["Dense_1"]["kernel"], updates["Dense_1"]["kernel"]
    by_hand = 0.5 * g / rms(g) + 0.5 * np.sign(g)
    bias = grads["Dense_1"]["bias"]
    inputs = np.sqrt(g.shape[0]) * rms(g) / rms(bias)
    np.testing.assert_allclose(got, -0.5 * by_hand / inputs, rtol=1e-4)
    np.testing.assert_allclose(updates["Dense_1"]["bias"], -0.5 * np.sign(bias), rtol=1e-4)


def test_untrained_steps_go_with_a_root_of_one_over_the_length(space):
    rule = GatesRule()
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

    rule = GatesRule(
        directions=("orthogonal(power=0.5)", "rotated", "factored"), weights=(0.0,) * 3
    )
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
    rule = GatesRule()
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
    rule = GatesRule()
    theta = jax.tree.map(jnp.zeros_like, rule.init(jax.random.key(0), spec))
    optimizer = rule.optimizer(theta, 1.0, spec, total_steps=1000)
    _, updates = train(optimizer, params, [random_like(params, 3)])
    for name, fan_in in (("w", 4), ("kernel", 6)):
        np.testing.assert_allclose(rms(updates[name]), 1 / np.sqrt(fan_in), rtol=1e-3)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_one_theta_fits_every_architecture_with_and_without_a_spec(sharing, space):
    rule = GatesRule(sharing=sharing)
    theta = theta_of(rule, space.spec)
    other = mlp(widths=(3, 4, 5))
    params, _ = other.init(jax.random.key(0))
    for spec in (other.spec, None):
        _, updates = train(rule.optimizer(theta, 0.1, spec, total_steps=9), params, [params])
        assert all(np.isfinite(u).all() for u in jax.tree.leaves(updates))


@pytest.mark.parametrize("spec_is_given", [True, False])
def test_a_gradient_that_was_always_zero_gives_a_step_of_zero(spec_is_given, space):
    rule = GatesRule()
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
    rule = GatesRule()
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
    rule = GatesRule()
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
    rule = GatesRule()
    theta = theta_of(rule, space.spec)
    without = rule.optimizer(theta, 0.1, space.spec)
    with pytest.raises(UserError, match="pass total_steps"):
        train(without, space.params, [space.random(1)])
    _, told = train(without, space.params, [space.random(1)], total_steps=jnp.int32(50))
    given = rule.optimizer(theta, 0.1, space.spec, total_steps=50)
    _, fixed = train(given, space.params, [space.random(1)])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), told, fixed)


def test_momenta_can_be_kept_in_half_the_memory(space):
    def kept(dtype):
        rule = GatesRule(momentum_dtype=dtype)
        optimizer = rule.optimizer(theta_of(rule, space.spec), 0.1, space.spec, total_steps=9)
        state = jax.eval_shape(optimizer.init, space.params)
        return {
            name: jax.tree.leaves(tree)[0].dtype
            for name, tree in optax.tree.get(state, "averages").items()
        }

    assert set(kept("float32").values()) == {jnp.dtype("float32")}
    half = kept("bfloat16")
    assert {d.name for n, d in half.items() if n.startswith("momentum")} == {"bfloat16"}
    assert half["second_moment_0.99"] == jnp.float32


def test_each_average_is_kept_once_and_only_where_it_is_read(space):
    rule = GatesRule(directions=("rotated", "momentum", "orthogonal"), weights=(0.0,) * 3)
    optimizer = rule.optimizer(theta_of(rule, space.spec), 0.1, space.spec, 9)
    averages = optax.tree.get(jax.eval_shape(optimizer.init, space.params), "averages")
    of_matrix, of_vector = (
        {name for name, tree in averages.items() if tree["Dense_1"][k] is not None}
        for k in ("kernel", "bias")
    )
    assert of_matrix == {"momentum_0.95"}
    assert of_vector == {"momentum_0.95", "second_moment_0.99"}


def test_the_bases_of_matrices_are_kept_and_carried_on(space):
    rule = GatesRule()
    optimizer = rule.optimizer(theta_of(rule, space.spec), 0.1, space.spec, total_steps=9)
    start = optimizer.init(space.params)
    assert optax.tree.get(start, "memory")["rotated.short"]["Dense_1"]["bias"] is None
    state = start
    for seed in range(12):
        _, state = optimizer.update(space.random(seed), state, space.params)
    assert jax.tree.structure(state) == jax.tree.structure(start)
    memory = optax.tree.get(state, "memory")
    short, long = (memory[f"rotated.{side}"]["Dense_1"]["kernel"] for side in ("short", "long"))
    rows, columns = space.params["Dense_1"]["kernel"].shape
    assert rows != columns
    assert long.shape == (max(rows, columns), min(rows, columns))
    assert not np.allclose(short, np.eye(len(short)), atol=1e-3)
    for basis in (short, long):
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(short)), atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"directions": ("adams",)}, "unknown direction 'adams'; did you mean adam"),
        ({"directions": ("adam", "sign")}, "2 directions and 1 weights"),
        ({"vectors": "orthogonal"}, "'orthogonal' is for matrices only"),
        ({"decays": ()}, "one or more"),
        ({"decays": 0.9}, "decays must be a sequence"),
        ({"directions": "rotated"}, r"directions must be a sequence, such as \('rotated',\), not"),
        ({"decays": (0.9, 1.0)}, "from 0 to below 1, not 1.0"),
        ({"sharing": "groups"}, "unknown sharing 'groups'; did you mean group"),
        ({"width": 0}, "width must be a positive integer, not 0"),
        ({"momentum_dtype": "int8"}, "unknown momentum_dtype 'int8'; .*valid: bfloat16, float32"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        GatesRule(**arguments)
