"""What networks over weight spaces promise beside equivariance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from lopt.base.errors import UserError
from lopt.symmetry import Axes, PermutationSpec, SpecError
from lopt.unf import UNF, ExactLayer, InvariantUNF, RelationalLayer

AXES = {"conv": Axes("h", "in", "c"), "kernel": Axes("c", "out"), "bias": Axes("out")}
SPEC = PermutationSpec(AXES, {"h": 3, "in": 2, "c": 4, "out": 5}, ("h", "in", "out"))
OTHER = PermutationSpec(
    {"a": Axes("n", "n"), "b": Axes("n*m"), "s": Axes()}, {"n": 3, "m": 2}, ("m",)
)
KINDS = ["exact", "relational", "pointwise"]


def draw(spec, channels, seed=0, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: jnp.asarray(rng.standard_normal((*spec.shape(a), channels)), dtype), spec.axes
    )


def random_like(theta, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(0.3 * rng.standard_normal(p.shape), p.dtype), theta)


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


def assert_close(a, b, **tolerances):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerances), a, b)


@pytest.mark.parametrize("kind", ["relational", "pointwise"])
def test_one_theta_fits_any_weight_space(kind):
    net = UNF(SPEC, (4, 2), kind)
    theta = jax.jit(net.init)(jax.random.key(0), draw(SPEC, 3))
    y = jax.jit(net.clone(spec=OTHER).apply)(theta, draw(OTHER, 3))
    assert jax.tree.map(jnp.shape, y) == {"a": (3, 3, 2), "b": (6, 2), "s": (2,)}


def test_exact_theta_does_not_depend_on_the_names_of_groups():
    names = {"h": "z", "in": "y", "c": "q", "out": "b"}
    axes = {k: Axes(*(names[a] for a in axes)) for k, axes in AXES.items()}
    renamed = PermutationSpec(axes, {names[g]: n for g, n in SPEC.sizes.items()})
    theta = jax.jit(ExactLayer(SPEC, 2).init)(jax.random.key(0), draw(SPEC, 3))
    first = jax.jit(ExactLayer(SPEC, 2).apply)(theta, draw(SPEC, 3))
    second = jax.jit(ExactLayer(renamed, 2).apply)(theta, draw(SPEC, 3))
    assert_close(first, second)


@pytest.mark.parametrize("layers", [*KINDS, ("pointwise", "exact"), ("relational", "pointwise")])
def test_constants_are_last_channels_that_are_the_same_everywhere(layers):
    net = UNF(SPEC, (4, 2), layers)
    tree, constants = draw(SPEC, 3), jnp.array([0.3, -2.0])
    whole = jax.tree.map(
        lambda x: jnp.concatenate([x, jnp.broadcast_to(constants, (*x.shape[:-1], 2))], -1), tree
    )
    theta = random_like(jax.jit(net.init)(jax.random.key(0), whole))
    expected = jax.jit(net.apply)(theta, whole)
    assert_close(jax.jit(net.apply)(theta, tree, constants), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_over_theta_and_over_weight_spaces(kind):
    net = UNF(SPEC, (4, 2), kind)
    thetas = jax.vmap(lambda k: jax.jit(net.init)(k, draw(SPEC, 3)))(
        jax.random.split(jax.random.key(0), 2)
    )
    spaces = jax.tree.map(lambda a, b: jnp.stack([a, b]), draw(SPEC, 3, 1), draw(SPEC, 3, 2))
    both = jax.jit(jax.vmap(net.apply))(thetas, spaces)
    all_pairs = jax.jit(jax.vmap(jax.vmap(net.apply, (None, 0)), (0, None)))(thetas, spaces)
    apply = jax.jit(net.apply)
    for i in range(2):
        one = apply(*jax.tree.map(lambda x, i=i: x[i], (thetas, spaces)))
        assert_close(jax.tree.map(lambda x, i=i: x[i], both), one, rtol=1e-5, atol=1e-5)
        assert_close(jax.tree.map(lambda x, i=i: x[i, i], all_pairs), one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_match_finite_differences(float64, kind):
    net = UNF(OTHER, (3, 2), kind, activation=jnp.tanh)
    x = draw(OTHER, 2, dtype=jnp.float64)
    theta = random_like(net.init(jax.random.key(0), x))

    @jax.jit
    def loss(theta):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(jax.jit(net.apply)(theta, x)))

    step = random_like(theta, 1)
    moved = [jax.tree.map(lambda p, d, e=e: p + e * d, theta, step) for e in (1e-4, -1e-4)]
    slope = (loss(moved[0]) - loss(moved[1])) / 2e-4
    gradient = jax.jit(jax.grad(loss))(theta)
    parts = jax.tree.map(jnp.vdot, gradient, step)
    np.testing.assert_allclose(sum(jax.tree.leaves(parts)), slope, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_stays_and_is_off_by_rounding_only(kind):
    """Means over 100 numbers that are not centered, which a sum in bfloat16 would lose."""
    spec = PermutationSpec(AXES, SPEC.sizes | {"c": 100, "out": 50}, SPEC.fixed)
    net, x = UNF(spec, (8, 2), kind), jax.tree.map(lambda x: x + 0.5, draw(spec, 3))
    theta = jax.jit(net.init)(jax.random.key(0), x)
    full = jax.jit(net.apply)(theta, x)
    half = jax.jit(net.apply)(theta, jax.tree.map(jnp.bfloat16, x))
    assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(half))
    full, half = (ravel_pytree(jax.tree.map(jnp.float32, y))[0] for y in (full, half))
    # Between input and output a number is rounded at most 27 times: inputs and coefficients, and
    # in each layer means, products and five summands. Each time it changes by up to 2**-8 of its
    # size, uniformly, which is 2**-8 / sqrt(3) in the mean square.
    bound = np.sqrt(27 / 3) * 2**-8
    assert rms(half - full) < bound * rms(full)


@pytest.mark.parametrize("kind", KINDS)
def test_pointwise_first_starts_pointwise(kind):
    net = UNF(SPEC, (4, 2), kind, kernel_init="pointwise_first")
    x = draw(SPEC, 3)
    theta = jax.jit(net.init)(jax.random.key(0), x)
    jacobian = jax.jacobian(lambda b: jax.jit(net.apply)(theta, {**x, "bias": b}))(x["bias"])
    assert not jnp.any(jacobian["conv"])
    assert not jnp.any(jacobian["kernel"])
    crossed = jacobian["bias"] * (1 - jnp.eye(5))[:, None, :, None]
    assert not jnp.any(crossed)
    assert jnp.any(jacobian["bias"])


def test_fan_in_keeps_the_scale_of_a_pointwise_layer():
    x = {"w": jax.random.normal(jax.random.key(0), (40, 50, 64))}
    spec = PermutationSpec({"w": Axes("a", "b")}, {"a": 40, "b": 50})
    y, _ = UNF(spec, (64,), "pointwise").init_with_output(jax.random.key(1), x)
    np.testing.assert_allclose(jnp.std(y["w"]), 1, rtol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_output_scale_scales_the_first_output(kind):
    key, x = jax.random.key(0), draw(SPEC, 3)
    y, small = (
        jax.jit(UNF(SPEC, (4, 2), kind, output_scale=s).init_with_output)(key, x)[0]
        for s in (1.0, 0.1)
    )
    assert_close(small, jax.tree.map(lambda y: 0.1 * y, y), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_without_elements_change_nothing(kind):
    axes = AXES | {"empty": Axes("c", "none"), "part": Axes("out+none", "in")}
    spec = PermutationSpec(axes, SPEC.sizes | {"none": 0}, (*SPEC.fixed, "none"))
    plain = PermutationSpec(AXES | {"part": Axes("out", "in")}, SPEC.sizes, SPEC.fixed)
    x = draw(plain, 3)
    for net in (
        UNF(plain, (4, 2), kind),
        InvariantUNF(plain, (4,), (2,), kind),
    ):
        theta = random_like(jax.jit(net.init)(jax.random.key(0), x))
        y = jax.jit(net.apply)(theta, x)
        of_all = jax.jit(net.clone(spec=spec).apply)(theta, x | {"empty": jnp.zeros((4, 0, 3))})
        if isinstance(net, UNF):
            assert of_all.pop("empty").shape == (4, 0, 2)
        assert_close(of_all, y, rtol=1e-5, atol=1e-6)
    nothing = PermutationSpec({"empty": Axes("none")}, {"none": 0})
    with pytest.raises(SpecError, match="one parameter"):
        UNF(nothing, (2,), kind).init(jax.random.key(0), {"empty": jnp.zeros((0, 3))})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": (4, 6, 3)}, "kernel axis 1.* 5 .* 6"),
        (
            {"kernel": (4, 5)},
            r"kernel.* 2 axes.* x\[",
        ),
        ({"kernel": (4,)}, "kernel.* 2 axes"),
        ({"kernel": (4, 5, 7)}, "kernel.* 7.* bias.* 3"),
        ({"more": (4, 3)}, "more .* spec"),
    ],
)
def test_trees_that_do_not_fit_are_refused(change, message):
    x = draw(SPEC, 3) | {k: jnp.zeros(shape) for k, shape in change.items()}
    with pytest.raises(SpecError, match=message):
        RelationalLayer(SPEC, 2).init(jax.random.key(0), x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 2), "exakt"), "'exakt'.* exact"),
        (((4, 2), ("exact",)), "1 layers.* 2 features"),
        (((), "exact"), "0 layers.* 0 features"),
    ],
)
def test_networks_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        UNF(SPEC, *arguments).init(jax.random.key(0), draw(SPEC, 3))


def test_unknown_options_are_refused():
    with pytest.raises(UserError, match=r"kernel_init.*'fanin'"):
        UNF(SPEC, (2,), "exact", kernel_init="fanin").init(jax.random.key(0), draw(SPEC, 3))
    with pytest.raises(UserError, match=r"pooling.*'all'"):
        InvariantUNF(SPEC, (2,), (1,), pooling="all").init(jax.random.key(0), draw(SPEC, 3))
