"""All layers, stacks and pooled networks commute with permutations, whatever the weight space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optimized import compiled

from lopt.symmetry import Axes, PermutationSpec
from lopt.unf import UNF, ExactLayer, InvariantUNF, PointwiseLayer, RelationalLayer

TENSORS = ["", "a", "b", "d", "c", "a b", "b a", "b d", "a a", "c d", "a b d", "b a b", "d d d"]
TENSORS += ["a*b", "b+d", "d a*b", "b+d a", "(a+c)*b a", "a+b d+b"]
GROUPS = "abcd"
LAYERS = [ExactLayer, RelationalLayer, PointwiseLayer]
KINDS = ["exact", "relational", "pointwise", ("pointwise", "exact"), ("relational", "exact")]
SETTINGS = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def specs(draw):
    """One to four tensors over groups of one to four, some of them fixed."""
    tensors = draw(st.lists(st.sampled_from(TENSORS), min_size=1, max_size=4))
    axes = {f"t{i}": Axes(*groups.split()) for i, groups in enumerate(tensors)}
    used = sorted({g for groups in tensors for g in groups if g in GROUPS})
    sizes = {g: draw(st.integers(1, 4), label=f"size of {g}") for g in used}
    fixed = draw(st.sets(st.sampled_from(used), max_size=1) if used else st.just(set()))
    return PermutationSpec(axes, sizes, fixed)


def draw(spec, channels, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda axes: jnp.asarray(rng.standard_normal((*spec.shape(axes), channels))), spec.axes
    )


def random_theta(net, tree, seed):
    theta = jax.eval_shape(net.init, jax.random.key(0), tree)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), theta)


def assert_equivariant(net, spec, tree, seed):
    theta = random_theta(net, tree, seed)
    moves = spec.sample(jax.random.key(seed))
    permute = jax.jit(spec.permute)
    apply = jax.jit(net.apply)
    first = apply(theta, permute(tree, moves))
    second = permute(apply(theta, tree), moves)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), first, second)


@pytest.mark.parametrize("layer", LAYERS)
@SETTINGS
@given(spec=specs(), seed=st.integers(0, 2**16))
def test_layers_commute_with_permutations(float64, layer, spec, seed):
    assert_equivariant(layer(spec, features=2), spec, draw(spec, 3, seed), seed)


@SETTINGS
@given(spec=specs(), kinds=st.sampled_from(KINDS), seed=st.integers(0, 2**16))
def test_stacks_commute_with_permutations(float64, spec, kinds, seed):
    assert_equivariant(UNF(spec, (3, 1), kinds), spec, draw(spec, 2, seed), seed)


@SETTINGS
@given(
    spec=specs(),
    kind=st.sampled_from(KINDS[:3]),
    pooling=st.sampled_from(["tensors", "network"]),
    seed=st.integers(0, 2**16),
)
def test_pooled_networks_are_invariant(float64, spec, kind, pooling, seed):
    net, tree = InvariantUNF(spec, (3,), (2,), kind, pooling), draw(spec, 2, seed)
    theta, apply = random_theta(net, tree, seed), jax.jit(net.apply)
    moved = spec.permute(tree, spec.sample(jax.random.key(seed)))
    y = apply(theta, tree)
    assert y.shape == (2,)
    np.testing.assert_allclose(apply(theta, moved), y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["exact", "relational"])
def test_large_arrays_commute_too_as_users_compile_them(float64, kind):
    sizes = {"s": 3, "t": 3, "i": 20, "o": 40}
    axes = {"conv": Axes("s", "t", "i", "o"), "square": Axes("o", "o"), "bias": Axes("o")}
    spec = PermutationSpec(axes, sizes)
    net, tree = UNF(spec, (32, 2), kind), draw(spec, 8, 0)
    theta, moves = random_theta(net, tree, 0), spec.sample(jax.random.key(0))
    apply = compiled(net.apply, theta, tree)
    assert 'inlineable="false"' in apply.as_text()
    permute = jax.jit(spec.permute)
    first, second = apply(theta, permute(tree, moves)), permute(apply(theta, tree), moves)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), first, second)
