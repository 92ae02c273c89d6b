import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lopt.symmetry import Axes, PermutationSpec
from lopt.unf import UNF, ExactLayer, PointwiseLayer, RelationalLayer

SIZES = {"a": 2, "b": 3, "c": 1, "d": 4}
TENSORS = ["", "a", "b", "d", "c", "a b", "b a", "b d", "a a", "c d", "a b d", "b a b", "d d d"]
TENSORS += ["a*b", "b+d", "d a*b", "b+d a", "(a+c)*b a", "a+b d+b"]
TREES = st.lists(st.sampled_from([t.split() for t in TENSORS]), min_size=1, max_size=4)
SETTINGS = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LAYERS = [ExactLayer, RelationalLayer, PointwiseLayer]


def spec_of(tensors):
    return PermutationSpec({f"t{i}": Axes(*axes) for i, axes in enumerate(tensors)}, SIZES)


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
@given(tensors=TREES, seed=st.integers(0, 2**16))
def test_layers_commute_with_permutations(float64, layer, tensors, seed):
    spec = spec_of(tensors)
    assert_equivariant(layer(spec, features=2), spec, draw(spec, 3, seed), seed)


@pytest.mark.parametrize(
    "kinds", ["exact", "relational", ("pointwise", "exact"), ("relational", "exact"), "pointwise"]
)
@SETTINGS
@given(tensors=TREES, seed=st.integers(0, 2**16))
def test_stacks_commute_with_permutations(float64, kinds, tensors, seed):
    spec = spec_of(tensors)
    assert_equivariant(UNF(spec, (3, 1), kinds), spec, draw(spec, 2, seed), seed)


@pytest.mark.parametrize("kind", ["exact", "relational"])
def test_large_arrays_commute_too_where_other_code_runs(float64, kind):
    sizes = {"s": 3, "t": 3, "i": 20, "o": 40}
    axes = {"conv": Axes("s", "t", "i", "o"), "square": Axes("o", "o"), "bias": Axes("o")}
    spec = PermutationSpec(axes, sizes)
    net, tree = UNF(spec, (32, 2), kind), draw(spec, 8, 0)
    compiled = jax.jit(net.apply).lower(random_theta(net, tree, 0), tree).compile()
    assert 'inlineable="false"' in compiled.as_text()
    assert_equivariant(net, spec, tree, 0)
