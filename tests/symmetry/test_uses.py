"""What a tensor is, as inference finds it from what the function does with it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lopt.base.errors import UserError
from lopt.rules.matrices import matrices
from lopt.symmetry import Axes, PermutationSpec, infer_spec
from lopt.symmetry.roles import axis_roles, bias_of_each

TOKENS = jnp.array([0, 2, 1])
X = jnp.ones((3, 5))
IMAGE = jnp.ones((2, 3, 8, 8))
OUT_FIRST = ("output", "input")


def roles_of(fn, params, *args):
    spec = infer_spec(fn, params, *args)
    return dict(zip(sorted(spec.axes), axis_roles(spec), strict=True))


@pytest.mark.parametrize(
    "use",
    [
        lambda w, x: w @ x.T,
        lambda w, x: (x @ w.T).T,
        lambda w, x: jax.vmap(lambda row: w @ row)(x).T,
        lambda w, x: jax.vmap(jax.checkpoint(lambda row: w.astype("bfloat16") @ row))(x).T,
        lambda w, x: lax.map(lambda row: w @ row, x).T,
        lambda w, x: jnp.einsum("oi,bi->ob", w, x),
        lambda w, x: (w * 0.5) @ x.T,
    ],
)
def test_a_matrix_that_stands_before_its_input_has_its_outputs_first(use):
    params = {"a": jnp.ones((6, 5)), "b": jnp.ones((2, 6))}
    spec = infer_spec(lambda p, x: p["b"] @ jnp.tanh(use(p["a"], x)), params, X)
    assert axis_roles(spec) == [OUT_FIRST, OUT_FIRST]
    assert [m.kind for m in matrices(spec)] == ["input", "output"]
    assert spec.axes["b"].roles == OUT_FIRST


def test_the_usual_order_is_said_nothing_of():
    params = {"a": jnp.ones((5, 6)), "b": jnp.ones((6, 2)), "c": jnp.ones(2)}
    spec = infer_spec(lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"] + p["c"], params, X)
    assert [axes.roles for _, axes in spec.entries] == [None, None, None]


def test_kernels_may_have_their_space_last():
    params = {"conv": jnp.ones((4, 3, 3, 3)), "dense": jnp.ones((2, 4))}

    def model(p, x):
        return jax.nn.relu(lax.conv(x, p["conv"], (1, 1), "SAME")).mean((2, 3)) @ p["dense"].T

    assert roles_of(model, params, IMAGE) == {
        "conv": ("output", "input", "spatial", "spatial"),
        "dense": OUT_FIRST,
    }


def test_an_embedding_whose_transpose_is_the_output_layer_is_a_table():
    params = {"embedding": jnp.ones((7, 6)), "w": jnp.ones((6, 6))}

    def model(p, tokens):
        return jnp.tanh(p["embedding"][tokens] @ p["w"]) @ p["embedding"].T

    spec = infer_spec(model, params, TOKENS)
    assert [m.kind for m in matrices(spec)] == ["table", "hidden"]


def test_two_params_that_are_multiplied_are_taken_by_the_convention():
    params = {"a": jnp.ones((5, 2)), "b": jnp.ones((2, 6)), "c": jnp.ones((6, 3))}
    spec = infer_spec(lambda p, x: jnp.tanh(x @ (p["a"] @ p["b"])) @ p["c"], params, X)
    assert [axes.roles for _, axes in spec.entries] == [None, None, None]


@pytest.mark.parametrize("batched", [True, False])
def test_positions_that_are_added_to_are_no_matrix(batched):
    params = {"positions": jnp.ones((3, 6)), "token": jnp.ones((7, 6)), "w": jnp.ones((6, 6))}

    def model(p, tokens):
        return jnp.tanh((p["positions"] + p["token"][tokens]) @ p["w"]).sum(-1)

    fn = jax.vmap(model, (None, 0)) if batched else model
    spec = infer_spec(fn, params, jnp.stack([TOKENS, TOKENS]) if batched else TOKENS)
    assert [m.kind for m in matrices(spec)] == ["table", "table", "hidden"]


def test_a_table_may_have_its_entries_last():
    params = {"embedding": jnp.ones((6, 7)), "w": jnp.ones((2, 6))}
    spec = infer_spec(lambda p, t: p["w"] @ p["embedding"][:, t], params, TOKENS)
    assert [m.kind for m in matrices(spec)] == ["table", "output"]
    assert [m.shape for m in matrices(spec)] == [(7, 6), (6, 2)]


def test_heads_that_are_written_first_are_one_side():
    params = {"q": jnp.ones((2, 3, 5)), "k": jnp.ones((2, 3, 5)), "out": jnp.ones((5, 2, 3))}

    def attention(p, x):
        q, k = (jnp.einsum("hwi,ti->htw", p[name], x) for name in ("q", "k"))
        mixed = jax.nn.softmax(q @ k.swapaxes(1, 2)) @ k
        return jnp.einsum("ihw,htw->ti", p["out"], mixed)

    written, read = ("output", "output", "input"), ("output", "input", "input")
    assert roles_of(attention, params, X) == {"k": written, "out": read, "q": written}


def test_an_equinox_classifier_has_its_kinds_and_its_output():
    model = eqx.nn.MLP(5, 3, 7, 2, key=jax.random.key(2))
    params, static = eqx.partition(model, eqx.is_array)

    def loss(p, x, labels):
        logits = jax.vmap(eqx.combine(p, static))(x)
        return -jnp.mean(jax.nn.log_softmax(logits) * labels)

    spec = infer_spec(loss, params, X, jnp.ones((3, 3)))
    kinds = [m.kind for m in matrices(spec)]
    assert kinds == ["input", "vector", "hidden", "vector", "output", "vector"]
    assert "output" in spec.fixed


def test_roles_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="'ouput'; did you mean output"):
        Axes("h", "in", roles=("ouput", "input"))
    with pytest.raises(UserError, match=r"2 axes.* 1 roles"):
        Axes("h", "in", roles=("output",))


def dense(p, x):
    return jnp.tanh(x @ p["a"]) @ p["b"]


MLP = {"a": jnp.ones((5, 6)), "b": jnp.ones((6, 3))}
BATCH = jax.random.normal(jax.random.key(0), (4, 5))
NOISE = jax.random.normal(jax.random.key(1), (4, 4))


def vae(p, x, key):
    latent = x @ p["a"]
    noisy = latent + jax.random.normal(key, latent.shape)
    return jnp.tanh(noisy @ p["b"]).sum()


def with_dropout(p, x, key):
    kept = jax.random.bernoulli(key, 0.5, p["a"].shape)
    return dense(p | {"a": p["a"] * kept}, x)


def mixing(p, x):
    """Tokens are mixed, and channels after them."""
    mixed = jnp.einsum("btc,ts->bsc", x, p["a"])
    return jnp.tanh(mixed) @ p["b"]


def flattened(p, x):
    image = lax.conv_general_dilated(x, p["k"], (1, 1), "VALID")
    return image.reshape(2, -1) @ p["a"]


def decoded(p, start):
    """Its own predictions are what a decoder reads next."""

    def step(logits, _):
        logits = jnp.tanh(jax.nn.softmax(logits) @ p["a"]) @ p["b"]
        return logits, logits

    return jax.nn.log_softmax(lax.scan(step, start, length=3)[1])


DENSE = {
    "closed over": (lambda p: dense(p, BATCH), MLP),
    "cast": (lambda p, x: dense(p, x.astype(jnp.float32) / 255), MLP, jnp.ones((4, 5), "uint8")),
    "standardized": (lambda p, x: dense(p, (x - np.arange(5)) / np.arange(1, 6)), MLP, BATCH),
    "drawn by index": (lambda p, i: dense(p, BATCH[i]), MLP, TOKENS),
    "fourier features": (
        lambda p, x: dense(
            p, jnp.concatenate([jnp.sin(x * np.arange(1, 3)), x, jnp.cos(2 * x), jnp.cos(x)], 1)
        ),
        MLP,
        BATCH[:, :1],
    ),
    "time features": (
        lambda p, t: dense(p, jnp.sin(t[:, None] * jnp.exp(-jnp.arange(5.0)))),
        MLP,
        jnp.arange(4),
    ),
    "decoder of a vae": (vae, MLP, BATCH, jax.random.key(0)),
    "kernel after dropout": (with_dropout, MLP, BATCH, jax.random.key(0)),
    "mixer": (mixing, {"a": jnp.ones((7, 4)), "b": jnp.ones((5, 3))}, jnp.ones((2, 7, 5))),
    "linformer": (
        lambda p, x: jax.nn.softmax((x @ p["q"]) @ (p["e"] @ (x @ p["q"])).T) @ (p["e"] @ x),
        {"e": jnp.ones((3, 7)), "q": jnp.ones((5, 6))},
        jax.random.normal(jax.random.key(2), (7, 5)),
    ),
    "flattened convolution": (
        flattened,
        {"k": jnp.ones((1, 1, 3, 3)), "a": jnp.ones((9, 3))},
        jnp.ones((2, 1, 5, 5)),
    ),
    "logits fed back": (decoded, {"a": jnp.ones((4, 6)), "b": jnp.ones((6, 4))}, NOISE),
    "low rank beside frozen": (
        lambda p, x: jnp.tanh(x @ NOISE + x @ p["a"] @ p["b"]),
        {"a": jnp.ones((4, 2)), "b": jnp.ones((2, 4))},
        NOISE,
    ),
}


@pytest.mark.filterwarnings("ignore::lopt.symmetry.FixedUnitsWarning")
@pytest.mark.parametrize("name", DENSE)
def test_a_matrix_that_data_are_multiplied_with_is_no_table(name):
    spec = infer_spec(*DENSE[name])
    assert all(m.inputs and m.kind != "table" for m in matrices(spec))


TABLE = {"e": jnp.ones((7, 5)), "a": jnp.ones((5, 6)), "b": jnp.ones((6, 3))}

TABLES = {
    "index": lambda e, t: e[t],
    "take": lambda e, t: jnp.take(e, t, axis=0),
    "one_hot": lambda e, t: jax.nn.one_hot(t, 7) @ e,
    "identity": lambda e, t: jnp.eye(7)[t] @ e,
    "comparison": lambda e, t: jnp.einsum("tv,vd->td", t[:, None] == jnp.arange(7), e),
    "dynamic slice": lambda e, t: lax.dynamic_slice_in_dim(e, t[0], 3),
    "row for each position": lambda e, t: e[:3] + jnp.take(e, t, axis=0),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_is_looked_up_is_a_table(name):
    spec = infer_spec(lambda p, t: dense(p, TABLES[name](p["e"], t)), TABLE, TOKENS)
    kinds = dict(zip("abe", (m.kind for m in matrices(spec)), strict=True))
    assert kinds == {"a": "hidden", "b": "output", "e": "table"}


def test_specs_of_a_table_and_of_a_matrix_differ_and_are_stored():
    params = {k: jnp.ones(s) for k, s in (("e", (7, 6)), ("w", (6, 3)))}
    table = infer_spec(lambda p, t: jnp.tanh(p["e"][t]) @ p["w"], params, TOKENS)
    matrix = infer_spec(lambda p, x: jnp.tanh(x @ p["e"]) @ p["w"], params, jnp.ones((3, 7)))
    assert table != matrix
    for spec in (table, matrix):
        assert PermutationSpec.from_json(spec.to_json()) == spec
        assert PermutationSpec.from_json(spec.to_json()) != (matrix if spec is table else table)


def test_a_spec_by_hand_equals_what_is_found():
    params = MLP | {"c": jnp.ones(6)}

    def model(p, x):
        return jnp.tanh(x @ p["a"] + p["c"]) @ p["b"]

    axes = {"a": Axes("in", "h"), "b": Axes("h", "out"), "c": Axes("h")}
    said = {"a": Axes("in", "h", roles=("input", "output"))}
    for by_hand in (axes, axes | said):
        spec = PermutationSpec.for_params(by_hand, params, fixed=("in", "out"))
        assert infer_spec(model, params, X) == spec


def test_biases_are_stored_and_left_out_with_their_matrix():
    params = {"w": jnp.ones((5, 6)), "v": jnp.ones((6, 6)), "b": jnp.ones(6), "c": jnp.ones(6)}

    def model(p, x):
        return x + jnp.tanh(jnp.tanh(x @ p["w"] + p["b"]) @ p["v"].T + p["c"]) @ p["w"].T

    spec = infer_spec(model, params, jax.random.normal(jax.random.key(3), (4, 5)))
    assert spec.biases == {("w",): ("b",), ("v",): ("c",)}
    assert PermutationSpec.from_json(spec.to_json()).biases == spec.biases
    assert spec.like({k: params[k] for k in "wvc"}).biases == {("v",): ("c",)}
    with pytest.raises(UserError, match=r"biases.* b,"):
        PermutationSpec({"w": Axes("i", "o")}, {"i": 5, "o": 6}, biases={("w",): ("b",)})


def test_an_ensemble_with_learned_weights_is_a_stack():
    params = {"w": jnp.ones((3, 5, 6)), "v": jnp.ones((3, 6, 2)), "mix": jnp.ones(3)}

    def model(p, x):
        members = jax.vmap(lambda w, v: jnp.tanh(x @ w) @ v)(p["w"], p["v"])
        return jnp.einsum("e,ebk->bk", p["mix"], members)

    layout = dict(zip(sorted(params), matrices(infer_spec(model, params, BATCH)), strict=True))
    assert {name: m.copies for name, m in layout.items()} == {"mix": 1, "v": 3, "w": 3}


LAYERS = {
    "w": jnp.ones((5, 6)),
    "wb": jnp.ones(6),
    "v": jnp.ones((6, 6)),
    "vb": jnp.ones(6),
    "u": jnp.ones((6, 3)),
    "ub": jnp.ones(3),
}


def layers(p, x):
    x = jnp.tanh(x @ p["w"] + p["wb"])
    return jnp.tanh(x @ p["v"] + p["vb"]) @ p["u"] + p["ub"]


def residual_of_a_derivative(p, x):
    slopes = jax.vmap(jax.grad(lambda x: layers(p, x)[0]))(x)
    return slopes, layers(p, x)


def trained_within(p, x):
    def step(p, _):
        gradient = jax.grad(lambda p: jnp.mean(layers(p, x) ** 2))(p)
        return jax.tree.map(lambda a, g: a - 0.1 * g, p, gradient), None

    return layers(lax.scan(step, p, length=2)[0], x)


INSIDE = {
    "drawn inside": (lambda p, key: layers(p, jax.random.normal(key, (4, 5))), jax.random.key(0)),
    "a grid": (lambda p: layers(p, jnp.stack([jnp.linspace(0, i, 7) for i in range(1, 6)], 1)),),
    "a scale of each kernel": (
        lambda p, x: layers(p | {k: p[k] / 3 for k in "wvu"}, x),
        BATCH,
    ),
    "weight norm": (
        lambda p, x: layers(p | {k: p[k] / jnp.linalg.norm(p[k], axis=0) for k in "wvu"}, x),
        BATCH,
    ),
    "a derivative in the loss": (residual_of_a_derivative, BATCH),
}


@pytest.mark.parametrize("name", INSIDE)
def test_layers_are_found_wherever_their_inputs_are_from(name):
    fn, *args = INSIDE[name]
    spec = infer_spec(fn, LAYERS, *args)
    kinds = dict(zip(sorted(LAYERS), (m.kind for m in matrices(spec)), strict=True))
    assert [kinds[k] for k in "wvu"] == ["input", "hidden", "output"]
    assert bias_of_each(spec) == {("w",): ("wb",), ("v",): ("vb",), ("u",): ("ub",)}


def test_layers_that_the_loss_trains_are_found():
    spec = infer_spec(trained_within, LAYERS, BATCH)
    kinds = dict(zip(sorted(LAYERS), (m.kind for m in matrices(spec)), strict=True))
    assert [kinds[k] for k in "wvu"] == ["input", "hidden", "output"]


def test_layers_of_learned_inputs_are_matrices():
    params = LAYERS | {"z": jnp.ones((4, 5))}
    spec = infer_spec(lambda p, x: layers(p, p["z"]) + x, params, jnp.ones((4, 3)))
    layout = dict(zip(sorted(params), matrices(spec), strict=True))
    assert all(layout[k].inputs for k in "wvu")
    assert not any(layout[k].inputs for k in ("wb", "vb", "ub"))


def test_experts_that_are_looked_up_have_stacks_of_biases():
    params = {"w": jnp.ones((3, 5, 6)), "b": jnp.ones((3, 6)), "v": jnp.ones((6, 2))}

    def model(p, x, expert):
        hidden = jnp.einsum("bi,bio->bo", x, p["w"][expert]) + p["b"][expert]
        return jnp.tanh(hidden) @ p["v"]

    spec = infer_spec(model, params, BATCH, jnp.array([0, 2, 1, 1]))
    layout = dict(zip(sorted(params), matrices(spec), strict=True))
    assert {k: (m.kind, m.copies) for k, m in layout.items()} == {
        "b": ("vector", 3),
        "v": ("output", 1),
        "w": ("input", 3),
    }


def test_centres_that_are_subtracted_are_no_table():
    params = {"c": jnp.ones((7, 5)), "v": jnp.ones((7, 2))}

    def model(p, x):
        return jnp.exp(-jnp.square(x[:, None] - p["c"]).sum(-1)) @ p["v"]

    spec = infer_spec(model, params, BATCH)
    assert [m.kind for m in matrices(spec)] == ["vector", "output"]
