"""The exact layer spans all equivariant linear maps, and has no two terms for the same one."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from lopt.symmetry import Axes, PermutationSpec, block_groups
from lopt.unf import ExactLayer, plan_for

BELL = [1, 1, 2, 5, 15, 52, 203]


def spec_of(sizes, *tensors):
    return PermutationSpec({f"t{i}": Axes(*axes) for i, axes in enumerate(tensors)}, sizes)


def product_of_bell_numbers(spec):
    groups = list(block_groups(spec).values())
    return sum(
        math.prod(BELL[(a + b).count(g)] for g in set(a + b))
        for a, b in itertools.product(groups, repeat=2)
    )


def random_permutation(spec, seed):
    rng = np.random.default_rng(seed)
    return {g: jnp.asarray(rng.permutation(n)) for g, n in spec.sizes.items()}


def matrix_of(spec, move):
    """The permutation matrix of the flattened weight space."""
    count = sum(math.prod(spec.shape(axes)) for _, axes in spec.entries)
    units = _unflatten(spec, jnp.eye(count))
    return np.asarray(_flatten(spec, spec.permute(units, move)))


def _flatten(spec, tree):
    return jnp.concatenate([x.reshape(-1, x.shape[-1]) for x in jax.tree.leaves(tree)])


def _unflatten(spec, rows):
    leaves, start = [], 0
    for _, axes in spec.entries:
        shape = spec.shape(axes)
        stop = start + math.prod(shape)
        leaves.append(rows[start:stop].reshape(*shape, -1))
        start = stop
    return jax.tree.unflatten(jax.tree.structure(spec.axes), leaves)


def generators(spec):
    """A transposition and a cycle of each group: they generate all its permutations."""
    for group, size in spec.sizes.items():
        identity = np.arange(size)
        swap = identity.copy()
        swap[:2] = swap[:2][::-1]
        for permutation in (swap, np.roll(identity, 1)):
            yield {group: jnp.asarray(permutation)}


def dimension_of_equivariant_maps(spec):
    """The null space of P M - M P = 0 over all generators P."""
    count = sum(math.prod(spec.shape(axes)) for _, axes in spec.entries)
    constraints = [np.zeros((1, count**2))]
    for move in generators(spec):
        P = matrix_of(spec, move)
        one = np.eye(len(P))
        constraints.append(np.kron(P, one) - np.kron(one, P.T))
    constraints = np.concatenate(constraints)
    gram = constraints.T @ constraints
    return len(gram) - np.linalg.matrix_rank(gram, hermitian=True)


def rank_of_layer(spec):
    """The rank of theta -> the layer's matrix, with one channel in and out."""
    count = sum(math.prod(spec.shape(axes)) for _, axes in spec.entries)
    layer = ExactLayer(spec, features=1, use_bias=False)
    theta = jax.jit(layer.init)(jax.random.key(0), _unflatten(spec, jnp.zeros((count, 1))))
    flat, unravel = ravel_pytree(theta)

    def matrix(flat):
        columns = jax.vmap(
            lambda x: _flatten(spec, layer.apply(unravel(flat), _unflatten(spec, x[:, None])))
        )(jnp.eye(count))
        return columns.reshape(-1)

    jacobian = jax.jit(jax.jacobian(matrix))(flat.astype(float))
    return np.linalg.matrix_rank(jacobian.T @ jacobian, hermitian=True)


SPECS = {
    "scalar": spec_of({}, ()),
    "scalars": spec_of({"a": 2}, (), (), ("a",)),
    "vectors": spec_of({"a": 3, "b": 2}, ("a",), ("a",), ("b",)),
    "matrix": spec_of({"a": 3, "b": 2}, ("a", "b")),
    "transposed": spec_of({"a": 3, "b": 2}, ("a", "b"), ("b", "a")),
    "square": spec_of({"a": 4}, ("a", "a")),
    "square and vector": spec_of({"a": 4}, ("a", "a"), ("a",)),
    "kernel": spec_of({"a": 2, "b": 2, "c": 3}, ("a", "b", "c"), ("c",)),
    "repeated in the middle": spec_of({"a": 4, "b": 2}, ("a", "b", "a")),
    "merged": spec_of({"a": 2, "b": 2}, ("a*b",), ("a",)),
    "concatenated": spec_of({"a": 2, "b": 3}, ("a+b",), ("b",)),
    "of rank three": spec_of({"a": 6}, ("a", "a", "a")),
}


@pytest.mark.parametrize("name", SPECS)
def test_number_of_terms_is_the_product_of_bell_numbers(name):
    assert plan_for(SPECS[name]).terms == product_of_bell_numbers(SPECS[name])


@pytest.mark.parametrize("name", [n for n in SPECS if n != "of rank three"])
def test_layer_spans_all_equivariant_maps(float64, name):
    spec = SPECS[name]
    terms = plan_for(spec).terms
    assert rank_of_layer(spec) == terms
    assert dimension_of_equivariant_maps(spec) == terms


SMALL = {
    **{
        f"square of {n}": spec_of({"a": n, "b": 1}, ("a", "a"), ("a",), ("b", "a"))
        for n in (1, 2, 3)
    },
    **{f"rank three of {n}": spec_of({"a": n}, ("a", "a", "a")) for n in (1, 2, 3)},
}


@pytest.mark.parametrize("name", SMALL)
def test_layer_spans_all_maps_where_groups_are_too_small_for_independent_terms(float64, name):
    rank = rank_of_layer(SMALL[name])
    assert rank < plan_for(SMALL[name]).terms
    assert rank == dimension_of_equivariant_maps(SMALL[name])


@st.composite
def small_specs(draw):
    """One to three tensors of eighteen elements at most, over groups of one to four."""
    sizes = {g: draw(st.integers(1, 4)) for g in "abc"}
    kinds = ["", "a", "b", "a b", "b a", "a a", "b a b", "a b c", "a a a", "a*b", "a+b", "a+b c"]
    tensors = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3))
    spec = spec_of(sizes, *(tensor.split() for tensor in tensors))
    assume(sum(math.prod(spec.shape(axes)) for _, axes in spec.entries) <= 18)
    return spec


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
@given(spec=small_specs())
def test_layer_spans_all_equivariant_maps_of_any_small_weight_space(float64, spec):
    assert rank_of_layer(spec) == dimension_of_equivariant_maps(spec)
    assert plan_for(spec).terms == product_of_bell_numbers(spec)
