import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lopt.symmetry import Axes, PermutationSpec, SpecError, block_groups, merge_blocks, split_blocks


@pytest.fixture
def params():
    return {"w1": jnp.ones((3, 8)), "b1": jnp.ones(8), "w2": jnp.ones((8, 2))}


@pytest.fixture
def spec(params):
    axes = {"w1": Axes("in", "h"), "b1": Axes("h"), "w2": Axes("h", "out")}
    return PermutationSpec.for_params(axes, params, fixed=("in", "out"))


def mlp(params, x):
    return jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"]


def test_axis_text_round_trips():
    for text in ("a", "a*b", "a+b*c", "(a+b)*c*(d+e)"):
        assert [str(a) for a in Axes(text)] == [text]


@pytest.mark.parametrize("text", ["", "a*", "(a", "a)", "*a"])
def test_unreadable_axis_is_refused(text):
    with pytest.raises(ValueError, match="axis"):
        Axes(text)


def test_permuting_true_groups_keeps_the_function(spec, params):
    keys = jax.random.split(jax.random.key(0), 4)
    pairs = zip(keys[1:], params.items(), strict=True)
    params = {name: jax.random.normal(k, p.shape) for k, (name, p) in pairs}
    x = jax.random.normal(keys[0], (5, 3))
    permuted = spec.permute(params, spec.sample(keys[0]))
    assert not np.allclose(permuted["w1"], params["w1"])
    np.testing.assert_allclose(mlp(permuted, x), mlp(params, x), atol=1e-5)


def test_only_true_groups_are_sampled(spec):
    assert set(spec.sample(jax.random.key(0))) == {"h"}


def test_a_spec_like_some_of_the_params_has_their_groups(spec, params):
    assert spec.like(params) == spec
    part = spec.like({"w1": params["w1"], "b1": params["b1"]})
    assert part == PermutationSpec(
        {"w1": Axes("in", "h"), "b1": Axes("h")}, {"in": 3, "h": 8}, fixed=("in",)
    )
    with pytest.raises(SpecError, match="w3"):
        spec.like({"w3": params["w1"]})
    with pytest.raises(SpecError, match=r"b1 axis 0.*'h'.* 8"):
        spec.like({"b1": jnp.ones(9)})


def test_equality_is_up_to_names(spec, params):
    axes = {"w1": Axes("x", "y"), "b1": Axes("y"), "w2": Axes("y", "z")}
    renamed = PermutationSpec.for_params(axes, params, fixed=("x", "z"))
    unfixed = PermutationSpec.for_params(axes, params, fixed=("x",))
    assert renamed == spec
    assert hash(renamed) == hash(spec)
    assert unfixed != spec


def test_json_round_trips(spec, params):
    assert PermutationSpec.from_json(spec.to_json()) == spec
    axes = spec.axes | {"w2": Axes("h", "out", roles=("output", "input"))}
    turned = PermutationSpec.for_params(axes, params, fixed=("in", "out"))
    assert PermutationSpec.from_json(turned.to_json()) == turned != spec
    assert PermutationSpec.from_json(spec.to_json(), like=params) == spec
    with pytest.raises(SpecError, match="w2"):
        PermutationSpec.from_json(spec.to_json(), like={"w1": 0, "b1": 0})


def test_errors_name_path_axis_and_sizes(spec, params):
    with pytest.raises(SpecError, match=r"w2 axis 0.*'h'.* 8.* 9"):
        spec.validate({**params, "w2": jnp.ones((9, 2))})
    with pytest.raises(SpecError, match=r"b1.* 1 axes"):
        spec.validate({**params, "b1": jnp.ones((8, 1))})
    with pytest.raises(SpecError, match="w3"):
        spec.validate({**params, "w3": jnp.ones(2)})
    with pytest.raises(SpecError, match=r"w2 axis 0.*'h'.* 7 .* 8"):
        PermutationSpec.for_params(spec.axes, {**params, "w2": jnp.ones((7, 2))})


def test_the_table_names_every_tensor_and_group(spec):
    text = str(spec)
    for word in ("w1", "3×8", "in, h", "fixed", "true", "w1.1 w2.0"):
        assert word in text


def test_composite_axes_split_merge_and_permute():
    sizes = {"d": 5, "head": 2, "width": 3, "x": 4, "one": 1}
    axes = {"qkv": Axes("d", "head*width+head*width"), "cat": Axes("x+(x+d)*one", "head")}
    spec = PermutationSpec(axes, sizes, fixed=("d",))
    tree = {
        name: jnp.arange(np.prod(spec.shape(a)) * 7.0).reshape(*spec.shape(a), 7)
        for name, a in axes.items()
    }
    blocks = split_blocks(spec, tree)
    assert {k: v.shape[:-1] for k, v in blocks.items()} == {
        k: tuple(sizes[g] for g in groups) for k, groups in block_groups(spec).items()
    }
    assert block_groups(spec)["cat#2"] == ("d", "one", "head")
    jax.tree.map(np.testing.assert_array_equal, merge_blocks(spec, blocks), tree)

    permutations = spec.sample(jax.random.key(1))

    def permute_block(name, groups):
        spec_of_block = PermutationSpec({name: Axes(*groups)}, sizes)
        return spec_of_block.permute({name: blocks[name]}, permutations)[name]

    by_block = {name: permute_block(name, groups) for name, groups in block_groups(spec).items()}
    permuted = spec.permute(tree, permutations)
    jax.tree.map(np.testing.assert_array_equal, merge_blocks(spec, by_block), permuted)
