import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lopt.symmetry import Axes, PermutationSpec, SpecError, check_spec, infer_spec
from lopt.symmetry.axes import groups_of, rename

X = jax.random.normal(jax.random.key(0), (4, 5))


def attend(params, x):
    qkv = x @ params["qkv"] + params["bias"]
    q, k, v = (y.reshape(-1, 2, 3) for y in jnp.split(qkv, 3, -1))
    weights = jax.nn.softmax(jnp.einsum("qhw,khw->hqk", q, k))
    y = jnp.einsum("hqk,khw->qhw", weights, v).reshape(-1, 6) @ params["out"]
    return jax.nn.relu(y @ params["up"]) @ params["down"]


def params(seed=0):
    random = np.random.default_rng(seed)
    shapes = {"qkv": (5, 18), "bias": (18,), "out": (6, 6), "up": (6, 6), "down": (6, 2)}
    return {n: random.standard_normal(s).astype("float32") for n, s in shapes.items()}


SPEC = infer_spec(attend, params(), X)


def merged(spec, first, second):
    """The spec with two groups made one, which is true."""
    names = {name: first if name == second else name for name in spec.sizes}
    axes = jax.tree.map(lambda a: Axes(*(rename(axis, names) for axis in a)), spec.axes)
    sizes = {names[n]: size for n, size in spec.sizes.items()}
    return PermutationSpec(axes, sizes, spec.fixed - {first, second})


def test_the_inferred_spec_holds():
    result = check_spec(attend, params(), SPEC, X)
    assert result
    assert not result.failed
    assert set(result.errors) == set(SPEC.groups)
    assert len(SPEC.groups) == 5
    assert "5 groups hold" in str(result)


@pytest.mark.parametrize("name", sorted(SPEC.fixed))
def test_a_fixed_group_set_free_is_caught(name):
    wrong = PermutationSpec(SPEC.axes, SPEC.sizes, SPEC.fixed - {name})
    result = check_spec(attend, params(), wrong, X)
    assert not result
    assert list(result.failed) == [name]
    assert result.failed[name] > 1e-3
    assert f"{name}: the outputs change by" in str(result)


PAIRS = [
    (a, b)
    for i, a in enumerate(SPEC.sizes)
    for b in list(SPEC.sizes)[:i]
    if SPEC.sizes[a] == SPEC.sizes[b]
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_groups_merged_are_caught(first, second):
    wrong = merged(SPEC, first, second)
    result = check_spec(attend, params(), wrong, X)
    assert not result
    if SPEC.fixed & {first, second}:
        assert first in result.failed
    else:
        # Permuting both alike is a symmetry, but they are not one group of neurons.
        assert not result.failed
        assert list(result.merged) == [first]
        assert f"{first}: these are separate groups" in str(result)


def test_there_are_pairs_to_merge():
    assert len(PAIRS) >= 2


def test_a_group_that_is_torn_apart_is_caught():
    axes = SPEC.axes | {"up": Axes("torn", SPEC.axes["up"][1])}
    torn = PermutationSpec(axes, SPEC.sizes | {"torn": 6}, SPEC.fixed)
    result = check_spec(attend, params(), torn, X)
    assert not result
    (name,) = groups_of(SPEC.axes["up"][0])
    assert set(result.failed) == {"torn", name}


def test_symmetries_of_fresh_params_do_not_deceive():
    def fn(p, x):
        return (x @ p["w"] + p["b"]) @ np.ones((8, 2), "float32")

    fresh = {"w": np.ones((5, 8), "float32"), "b": np.zeros(8, "float32")}
    axes = {"w": Axes("x", "h"), "b": Axes("other")}
    assert check_spec(fn, fresh, infer_spec(fn, fresh, X), X)
    wrong = {"w": Axes("h", "y"), "b": Axes("y")}
    assert not check_spec(fn, fresh, PermutationSpec.for_params(wrong, fresh, ("y",)), X)
    # Biases that are summed may indeed be permuted on their own.
    assert check_spec(fn, fresh, PermutationSpec.for_params(axes, fresh, ("x",)), X)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_rounding_in_the_models_own_dtype_is_no_failure(dtype):
    def fn(p, x):
        p, x = jax.tree.map(lambda a: a.astype(dtype), (p, x))
        return attend(p, x)

    result = check_spec(fn, params(), SPEC, X)
    assert result, str(result)
    everything = check_spec(fn, params(), PermutationSpec(SPEC.axes, SPEC.sizes), X)
    assert "input" in everything.failed


@pytest.mark.parametrize("fn", [jnp.sum, jnp.mean])
def test_rounding_of_a_single_number_is_no_failure(fn):
    matrix = {"w": np.random.default_rng(0).uniform(0.2, 0.9, (40, 30)).astype("float32")}
    spec = infer_spec(lambda p: fn(p["w"]), matrix)
    assert len(spec.groups) == 2
    assert check_spec(lambda p: fn(p["w"]), matrix, spec)


def test_the_precision_setting_is_restored():
    before = jax.config.jax_enable_x64
    check_spec(attend, params(), SPEC, X)
    assert jax.config.jax_enable_x64 == before
    assert jnp.ones(3).dtype == jnp.zeros(2).dtype == jnp.float32


def test_what_cannot_be_checked():
    shapes = jax.eval_shape(lambda p: p, params())
    with pytest.raises(SpecError, match="params/bias"):
        check_spec(attend, shapes, SPEC, X)
    with pytest.raises(SpecError, match="args/0"):
        check_spec(attend, params(), SPEC, jax.ShapeDtypeStruct((4, 5), jnp.float32))
    with pytest.raises(SpecError, match="finite"):
        check_spec(attend, params(), SPEC, X * np.nan)
    with pytest.raises(SpecError, match="up axis 0"):
        check_spec(attend, params() | {"up": np.ones((7, 6))}, SPEC, X)
