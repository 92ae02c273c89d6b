"""One spec fits a model's params in whichever containers they come."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lopt.symmetry import (
    Axes,
    PermutationSpec,
    SpecError,
    block_groups,
    check_spec,
    infer_spec,
    merge_blocks,
    split_blocks,
)
from lopt.unf import UNF


def channels(params):
    return jax.tree.map(lambda p: p[..., None], params)


class Model(nnx.Module):
    def __init__(self, rngs):
        self.value = nnx.Linear(3, 4, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.value(x))
        for block in self.blocks:
            x = x + nnx.relu(block(x))
        return self.head(x)


X = jax.random.normal(jax.random.key(0), (5, 3))
GRAPH, VARIABLES = nnx.split(Model(nnx.Rngs(0)))
FORMS = {
    "variables": VARIABLES,
    "arrays": nnx.as_pure(VARIABLES),
    "dict": nnx.to_pure_dict(VARIABLES),
    "module": nnx.merge(GRAPH, VARIABLES),
}


def apply(params, x):
    if not isinstance(params, Model):
        params = nnx.merge(GRAPH, params)
    return params(x)


@pytest.mark.parametrize("other", FORMS)
@pytest.mark.parametrize("form", ["variables", "arrays", "module"])
def test_a_spec_of_an_nnx_model_fits_each_form_of_its_params(form, other):
    spec = infer_spec(apply, FORMS[form], X)
    assert (spec.sizes, spec.groups) == ({"input": 3, "value": 4, "output": 2}, ("value",))
    params = FORMS[other]
    spec.validate(params)
    like = spec.like(params)
    assert like == spec
    assert jax.tree.structure(like.axes) == jax.tree.structure(params)
    assert PermutationSpec.from_json(spec.to_json(), like=params) == spec
    assert PermutationSpec.from_json(spec.to_json()).like(params) == spec
    permuted = spec.permute(params, spec.sample(jax.random.key(1)))
    assert jax.tree.structure(permuted) == jax.tree.structure(params)
    if other != "dict":
        assert check_spec(apply, params, spec, X)
        np.testing.assert_allclose(apply(permuted, X), apply(params, X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["exact", "relational", "pointwise"])
def test_a_network_returns_the_form_that_it_is_given(kind):
    net = UNF(infer_spec(apply, VARIABLES, X), (4, 1), kind)
    theta = jax.jit(net.init)(jax.random.key(0), channels(VARIABLES))
    outputs = [jax.jit(net.apply)(theta, channels(params)) for params in FORMS.values()]
    for params, output in zip(FORMS.values(), outputs, strict=True):
        assert jax.tree.structure(output) == jax.tree.structure(params)
        jax.tree.map(np.testing.assert_array_equal, *map(jax.tree.leaves, (output, outputs[0])))


def test_a_spec_fits_partitioned_params_in_their_boxes_and_without():
    kernel_init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    model = nn.Sequential([nn.Dense(6, kernel_init=kernel_init), nn.relu, nn.Dense(2)])
    boxed = model.init(jax.random.key(0), X)
    bare = nn.unbox(boxed)
    assert jax.tree.structure(boxed) != jax.tree.structure(bare)
    spec = infer_spec(model.apply, boxed, X)
    assert spec.groups == ("layers_0",)
    assert spec == infer_spec(model.apply, bare, X) == spec.like(bare)
    assert check_spec(model.apply, bare, spec, X)


class Dense(eqx.Module):
    query: jax.Array
    bias: jax.Array
    value: jax.Array


def test_fields_and_keys_match_by_name_in_any_order():
    module = Dense(jnp.ones((3, 2)), jnp.zeros(2), jnp.ones((2, 4)))
    fields = ("bias", "query", "value")
    as_dict = {name: getattr(module, name) for name in fields}

    def fn(params, x):
        get = params.__getitem__ if isinstance(params, dict) else lambda n: getattr(params, n)
        return (x @ get("query") + get("bias")) @ get("value")

    spec = infer_spec(fn, module, X)
    assert spec.groups == ("query",)
    assert check_spec(fn, as_dict, spec, X)
    assert spec.like(as_dict).like(module) == spec
    # What a mask leaves out does not change the paths of the others.
    assert [path for path, _ in spec.like({"value": module.value}).entries] == [("value",)]
    net = UNF(spec, (2,), "exact")
    theta = jax.jit(net.init)(jax.random.key(0), channels(module))
    of_module, of_dict = (jax.jit(net.apply)(theta, channels(p)) for p in (module, as_dict))
    assert isinstance(of_module, Dense)
    for name in fields:
        np.testing.assert_array_equal(getattr(of_module, name), of_dict[name])


def test_paths_that_read_alike_are_different_blocks():
    axes = {"a/b": Axes("i"), "a": {"b": Axes("i+j")}, "a/b#1": Axes("j")}
    spec = PermutationSpec(axes, {"i": 2, "j": 3})
    tree = {"a/b": jnp.arange(2.0), "a": {"b": jnp.arange(5.0)}, "a/b#1": jnp.arange(3.0)}
    assert set(block_groups(spec).values()) == {("i",), ("j",)}
    assert len(block_groups(spec)) == 4
    jax.tree.map(np.testing.assert_array_equal, merge_blocks(spec, split_blocks(spec, tree)), tree)
    for kind in ("exact", "relational"):
        net = UNF(spec, (2,), kind)
        y, _ = jax.jit(net.init_with_output)(jax.random.key(0), channels(tree))
        assert jax.tree.map(jnp.shape, y) == jax.tree.map(lambda x: (*x.shape, 2), tree)
    assert PermutationSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("spec", [{"w": Axes("i")}, {"w": ("i",)}, None, "inferred"])
def test_what_is_no_spec_is_refused(spec):
    params = {"w": jnp.ones((3, 1))}
    with pytest.raises(SpecError, match="PermutationSpec"):
        check_spec(lambda p: p["w"], params, spec)
    with pytest.raises(SpecError, match="PermutationSpec"):
        UNF(spec, (2,)).init(jax.random.key(0), params)
    with pytest.raises(SpecError, match="PermutationSpec"):
        split_blocks(spec, params)


@pytest.mark.parametrize("axes", [{"w": "input"}, {"w": ("input", "hidden")}, {"w": None, "b": 1}])
def test_axes_that_are_none_are_refused(axes):
    params = jax.tree.map(lambda _: jnp.ones(3), axes)
    with pytest.raises(SpecError, match=r"lopt.Axes"):
        PermutationSpec(axes, {"input": 3, "hidden": 2})
    with pytest.raises(SpecError, match=r"lopt.Axes"):
        PermutationSpec.for_params(axes, params)
