"""What a tensor is, as inference finds it from what the function does with it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jax import lax

from lopt.errors import UserError
from lopt.rules.matrices import matrices
from lopt.symmetry import Axes, infer_spec
from lopt.symmetry.roles import axis_roles

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
    with pytest.raises(UserError, match="no role 'ouput'; did you mean output"):
        Axes("h", "in", roles=("ouput", "input"))
    with pytest.raises(UserError, match="2 axes have 1 roles"):
        Axes("h", "in", roles=("output",))
