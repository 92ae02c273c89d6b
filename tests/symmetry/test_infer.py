import sys
import warnings
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend import core
from jax.interpreters import mlir
from zoo import random_params

import lopt.symmetry
from lopt.base.errors import UserError
from lopt.symmetry import (
    Axes,
    FixedUnitsWarning,
    InferenceError,
    PermutationSpec,
    UnknownPrimitiveWarning,
    check_spec,
    infer_spec,
    register_primitive,
)
from lopt.symmetry.primitives import HANDLERS


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        for width in (8, 7):
            x = nn.relu(nn.Dense(width)(x))
            x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(3)(x)


X = jax.random.normal(jax.random.key(0), (4, 5))
PARAMS = random_params(Mlp().init, X)
EXPECTED = PermutationSpec.for_params(
    {
        "params": {
            "Dense_0": {"kernel": Axes("x", "a"), "bias": Axes("a")},
            "Dense_1": {"kernel": Axes("a", "b"), "bias": Axes("b")},
            "Dense_2": {"kernel": Axes("b", "y"), "bias": Axes("y")},
        }
    },
    PARAMS,
    fixed=("x", "y"),
)


def loss(params, x, labels):
    logits = Mlp().apply(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def test_apply_and_loss_of_an_mlp():
    labels = jnp.arange(4) % 3
    assert infer_spec(Mlp().apply, PARAMS, X) == EXPECTED
    assert infer_spec(loss, PARAMS, X, labels) == EXPECTED
    assert check_spec(loss, PARAMS, EXPECTED, X, labels)


def test_shapes_are_enough():
    shapes = jax.eval_shape(lambda tree: tree, (PARAMS, X))
    assert infer_spec(loss, *shapes, jax.ShapeDtypeStruct((4,), int)) == EXPECTED


def test_groups_are_named_after_the_modules_that_introduce_them():
    spec = infer_spec(Mlp().apply, PARAMS, X)
    assert spec.sizes == {"input": 5, "Dense_0": 8, "Dense_1": 7, "output": 3}
    assert list(spec.sizes) == ["input", "Dense_0", "Dense_1", "output"]
    assert spec.fixed == {"input", "output"}


def test_what_a_loss_compares_with_labels_is_named_an_output():
    def loss(params, x, y):
        return jnp.mean((Mlp().apply(params, x) - y) ** 2)

    spec = infer_spec(loss, PARAMS, X, jnp.ones((len(X), 3)))
    assert list(spec.sizes) == ["input", "Dense_0", "Dense_1", "output"]


def test_fixed_groups_say_why():
    def fn(params, tokens):
        x = nn.Conv(4, (3,)).apply({"params": params["conv"]}, params["embed"]["table"][tokens])
        return jnp.sum(jnp.tanh(x) ** 2)

    conv = {"kernel": np.ones((3, 5, 4)), "bias": np.ones(4)}
    params = {"embed": {"table": np.ones((11, 5))}, "conv": conv}
    spec = infer_spec(fn, params, np.zeros((2, 6), int))
    assert spec.fixed == {"embed.entries", "conv.space"}
    assert spec.groups == ("embed", "conv")


def test_the_printed_spec_and_its_json():
    spec = infer_spec(Mlp().apply, PARAMS, X)
    text = str(spec)
    assert "params/Dense_1/kernel  8×7    Dense_0, Dense_1" in text
    assert PermutationSpec.from_json(spec.to_json(), like=PARAMS) == spec


def test_flags_and_random_keys_among_the_args():
    def fn(params, x, train, key):
        return Mlp().apply(params, x, train, rngs={"dropout": key})

    assert infer_spec(fn, PARAMS, X, False, jax.random.key(0)) == EXPECTED
    assert infer_spec(fn, PARAMS, X, False, jax.random.PRNGKey(0)) == EXPECTED
    # A random mask tells the hidden units apart.
    with pytest.warns(FixedUnitsWarning):
        assert infer_spec(fn, PARAMS, X, True, jax.random.key(0)).groups == ()


def test_inference_inside_of_a_trace():
    @jax.jit
    def specs(params, x):
        found.append(infer_spec(lambda p: Mlp().apply(p, x), params))
        return x

    found = []
    specs(PARAMS, X)
    assert found == [EXPECTED]


def test_bare_array_and_scalar_params():
    assert infer_spec(lambda w: jnp.sum(w**2), np.ones((3, 2))).groups == ("params", "params.2")
    assert infer_spec(lambda p, x: p["a"] * x, {"a": 2.0}, X).axes == {"a": Axes()}


# --- Bad input


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dense": {"act": jnp.tanh}}, "params/dense/act"),
        ({"dense": ["relu"]}, "params/dense/0.*str"),
        ({}, "no arrays"),
        (None, "no arrays"),
    ],
)
def test_params_that_are_no_arrays(params, message):
    with pytest.raises(InferenceError, match=message):
        infer_spec(Mlp().apply, params, X)


def untraceable(params, x):
    return x if float(jnp.sum(params)) > 0 else -x


@pytest.mark.parametrize(
    ("fn", "args", "message"),
    [
        (untraceable, (X,), "untraceable.*ConcretizationTypeError"),
        (loss, (), "loss.*missing 2 required positional"),
        (lambda p: p @ np.ones((9, 9)), (), r"<lambda> cannot be traced .*\(3,\) and \(9,\)"),
        (lambda p: "text", (), "cannot be traced .*str"),
        ("mlp", (), "fn.*str"),
    ],
)
def test_functions_that_cannot_be_traced(fn, args, message):
    with pytest.raises(UserError, match=message) as error:
        infer_spec(fn, np.ones((3, 3), "float32"), *args)
    assert "\n" not in str(error.value)


# --- Primitives without a handler


@pytest.fixture
def mystery(monkeypatch):
    """A primitive without a handler; it doubles its operand."""
    monkeypatch.delitem(HANDLERS, "mystery", raising=False)
    primitive = core.Primitive("mystery")
    primitive.def_impl(lambda x: 2 * x)
    primitive.def_abstract_eval(lambda x: x)
    mlir.register_lowering(primitive, mlir.lower_fun(lambda x: 2 * x, multiple_results=False))
    return lambda p, x: primitive.bind(jnp.tanh(x @ p["w"])) @ p["v"] @ p["u"]


PLAIN = {"w": np.ones((5, 4)), "v": np.ones((4, 3)), "u": np.ones((3, 2))}


def test_unknown_primitives_fix_what_they_touch_and_are_named_once(mystery):
    with pytest.warns(
        UnknownPrimitiveWarning, match=r"mystery.*register_primitive\('mystery'\)"
    ) as seen:
        spec = infer_spec(mystery, PLAIN, X)
    assert len(seen) == 1
    assert spec.groups == ("v",)
    assert "w.mystery" in spec.fixed


def test_a_registered_handler_is_followed(mystery):
    @register_primitive("mystery")
    def keep(equation, x):
        assert equation.in_shapes == equation.out_shapes == ((4, 4),)
        return [x]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert infer_spec(mystery, PLAIN, X).groups == ("w", "v")


def test_a_handler_with_the_wrong_result_is_named(mystery):
    register_primitive("mystery")(lambda equation, x: [x[:1]])
    with pytest.raises(InferenceError, match="mystery"):
        infer_spec(mystery, PLAIN, X)


# --- Cost


def gpt2(params, tokens):
    x = params["wte"][tokens] + params["wpe"][: tokens.shape[1]]
    for layer in params["layers"]:
        q, k, v = jnp.split(norm(layer["ln1"], x) @ layer["qkv"]["w"] + layer["qkv"]["b"], 3, -1)
        q, k, v = (y.reshape(*y.shape[:2], 12, 64) for y in (q, k, v))
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
        x = x + y @ layer["out"]["w"] + layer["out"]["b"]
        y = jax.nn.gelu(norm(layer["ln2"], x) @ layer["up"]["w"] + layer["up"]["b"])
        x = x + y @ layer["down"]["w"] + layer["down"]["b"]
    logits = norm(params["ln"], x) @ params["wte"].T
    losses = optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], tokens[:, 1:])
    return losses.mean()


def norm(p, x):
    return jax.nn.standardize(x) * p["scale"] + p["bias"]


def gpt2_params(layers):
    def shape(*dims):
        return jax.ShapeDtypeStruct(dims, jnp.float32)

    def linear(m, n):
        return {"w": shape(m, n), "b": shape(n)}

    ln = {"scale": shape(768), "bias": shape(768)}
    layer = {"ln1": ln, "qkv": linear(768, 2304), "out": linear(768, 768)}
    layer |= {"ln2": ln, "up": linear(768, 3072), "down": linear(3072, 768)}
    return {
        "wte": shape(50257, 768),
        "wpe": shape(1024, 768),
        "ln": ln,
        "layers": [layer] * layers,
    }


def calls_and_spec(layers):
    """How many functions of lopt.symmetry inference calls for GPT-2 small, and what it finds."""
    source, calls = str(Path(lopt.symmetry.__file__).parent), 0

    def count(frame, event, _):
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(source)

    sys.setprofile(count)
    try:
        spec = infer_spec(gpt2, gpt2_params(layers), jax.ShapeDtypeStruct((2, 1024), jnp.int32))
    finally:
        sys.setprofile(None)
    return calls, spec


def test_the_cost_of_inference_is_linear_in_depth():
    half, _ = calls_and_spec(6)
    whole, spec = calls_and_spec(12)
    assert whole < 2.1 * half
    assert sorted(spec.sizes[name] for name in spec.groups) == sorted(
        [768] + 12 * [12, 64, 64, 3072]
    )
