"""Recurrent models, and the specs that a person derives for them."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import optax
import pytest
from zoo import random_params, verify

SEQUENCES = jax.random.normal(jax.random.key(0), (2, 6, 5))
TOKENS = jax.random.randint(jax.random.key(1), (2, 4), 0, 11)


def init(model, *args):
    return random_params(model.init, *args)


def linen_cell(name, in_gates, state_gates, x, h, biased="state"):
    """The tensors of a linen cell that maps a group `x` and a state `h` to the state."""
    lines = [f"{name}/{gate}/kernel {x} {h}" for gate in in_gates]
    lines += [f"{name}/{gate}/kernel {h} {h}" for gate in state_gates]
    gates = {"state": state_gates, "input": in_gates}[biased]
    return "\n".join([*lines, *(f"{name}/{gate}/bias {h}" for gate in gates), ""])


def linen_gru(name, x, h):
    return (
        linen_cell(name, ("ir", "iz", "in"), ("hr", "hz", "hn"), x, h, biased="input").rstrip()
        + f"\n{name}/hn/bias {h}\n"
    )


def linen_lstm(name, x, h):
    return linen_cell(name, ("ii", "if", "ig", "io"), ("hi", "hf", "hg", "ho"), x, h)


class TwoLayers(nn.Module):
    cell: type

    @nn.compact
    def __call__(self, x):
        x = nn.RNN(self.cell(4, name="cell0"))(x)
        x = nn.RNN(self.cell(7, name="cell1"))(x)
        return nn.Dense(3, name="head")(x)


@pytest.mark.parametrize(
    ("cell", "tensors"),
    [
        (nn.GRUCell, linen_gru),
        (nn.LSTMCell, linen_lstm),
        (nn.OptimizedLSTMCell, linen_lstm),
    ],
)
def test_linen_cells(cell, tensors):
    model = TwoLayers(cell)
    verify(
        lambda p, x, y: jnp.mean((model.apply(p, x) - y) ** 2),
        init(model, SEQUENCES),
        SEQUENCES,
        jax.random.normal(jax.random.key(3), (2, 6, 3)),
        expect=tensors("cell0", "X", "a")
        + tensors("cell1", "a", "b")
        + "head/kernel b Y \n head/bias Y",
        a=4,
        b=7,
    )


@pytest.mark.parametrize("unroll", [hk.dynamic_unroll, hk.static_unroll])
def test_haiku_lstm_concatenates_input_and_state(unroll):
    def forward(x):
        first, second = hk.LSTM(4, name="first"), hk.LSTM(6, name="second")
        x, _ = unroll(first, x, first.initial_state(2), time_major=False)
        x, _ = unroll(second, x, second.initial_state(2), time_major=False)
        return hk.Linear(3, name="head")(x)

    model = hk.without_apply_rng(hk.transform(forward))
    verify(
        model.apply,
        init(model, SEQUENCES),
        SEQUENCES,
        expect="""
          first/linear/w   X+a a+a+a+a
          first/linear/b   a+a+a+a
          second/linear/w  a+b b+b+b+b
          second/linear/b  b+b+b+b
          head/w           b Y
          head/b           Y
        """,
        X=5,
        a=4,
        b=6,
    )


def test_haiku_gru():
    def forward(x):
        core = hk.GRU(4, name="gru")
        x, _ = hk.dynamic_unroll(core, x, core.initial_state(2), time_major=False)
        return hk.Linear(3, name="head")(x[:, -1])

    model = hk.without_apply_rng(hk.transform(forward))
    verify(
        model.apply,
        init(model, SEQUENCES),
        SEQUENCES,
        expect="""
          gru/w_i  X a+a+a
          gru/w_h  a a+a+a
          gru/b    a+a+a
          head/w   a Y
          head/b   Y
        """,
        a=4,
    )


def test_equinox_lstm_under_vmap():
    cell, static = eqx.partition(eqx.nn.LSTMCell(5, 4, key=jax.random.key(2)), eqx.is_array)

    def loss(params, x):
        def run(sequence):
            def step(state, item):
                return eqx.combine(params, static)(item, state), None

            return jax.lax.scan(step, (jnp.zeros(4), jnp.zeros(4)), sequence)[0][0]

        return jnp.sum(jax.vmap(run)(x) ** 2)

    verify(
        loss,
        cell,
        SEQUENCES,
        expect="""
          weight_ih  >a+a+a+a <X
          weight_hh  >a+a+a+a <a
          bias       a+a+a+a
        """,
        a=4,
    )


class Bidirectional(nn.Module):
    @nn.compact
    def __call__(self, x):
        forward, backward = nn.GRUCell(4, name="forward"), nn.GRUCell(5, name="backward")
        return nn.Dense(3, name="head")(nn.Bidirectional(nn.RNN(forward), nn.RNN(backward))(x))


def test_bidirectional_rnn():
    verify(
        Bidirectional().apply,
        init(Bidirectional(), SEQUENCES),
        SEQUENCES,
        expect=linen_gru("forward", "X", "a")
        + linen_gru("backward", "X", "b")
        + "head/kernel a+b Y \n head/bias Y",
        a=4,
        b=5,
    )


class EncoderDecoder(nn.Module):
    @nn.compact
    def __call__(self, x, tokens):
        state, _ = nn.RNN(nn.GRUCell(4, name="encoder"), return_carry=True)(x)
        embedded = nn.Embed(11, 6, name="embed")(tokens)
        y = nn.RNN(nn.GRUCell(4, name="decoder"))(embedded, initial_carry=state)
        return nn.Dense(11, name="head")(y)


def test_encoder_hands_its_state_to_the_decoder():
    model = EncoderDecoder()

    def loss(params, x, tokens):
        logits = model.apply(params, x, tokens)
        return optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], tokens[:, 1:]).mean()

    params = init(model, SEQUENCES, TOKENS)
    tensors = (
        linen_gru("encoder", "X", "a")
        + linen_gru("decoder", "e", "a")
        + "embed/embedding @V >e \n head/kernel a Y \n head/bias Y"
    )
    verify(loss, params, SEQUENCES, TOKENS, expect=tensors, a=4, e=6)
