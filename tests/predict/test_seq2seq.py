import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lopt.predict.arithmetic import BLANK, TOKENS, all_sums
from lopt.predict.seq2seq import decode, encode, init, logits, loss, spec_of, success
from lopt.symmetry import check_spec

SUMS = all_sums(4)
QUESTIONS, ANSWERS = map(jnp.asarray, SUMS)


@pytest.fixture(scope="module")
def params():
    return init(jax.random.key(0), 5, scale=2.0)


def test_the_encoder_is_flax_gru_cell(params):
    cell, h = nn.GRUCell(5), jnp.zeros((len(QUESTIONS), 5))
    with jax.disable_jit():
        for t in range(QUESTIONS.shape[1]):
            x = jax.nn.one_hot(QUESTIONS[:, t], TOKENS)
            h, _ = cell.apply({"params": params["encoder"]}, h, x)
    np.testing.assert_allclose(encode(params, QUESTIONS), h, atol=1e-5)


def test_decoding_takes_the_likeliest_token_given_those_before(params):
    found = decode(params, QUESTIONS, 3)
    np.testing.assert_array_equal(jnp.argmax(logits(params, QUESTIONS, found), -1), found)


def test_success_counts_answers_that_are_right_in_every_token(params):
    found = np.array(decode(params, QUESTIONS, ANSWERS.shape[1]))
    assert success(params, QUESTIONS, found) == 1
    found[:4, -1] = BLANK
    assert success(params, QUESTIONS, found) == pytest.approx(1 - 4 / len(found))


def test_the_loss_of_a_network_that_knows_nothing_is_the_entropy_of_a_token(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    assert loss(zeros, QUESTIONS, ANSWERS) == pytest.approx(np.log(TOKENS), rel=1e-5)


def test_the_hidden_units_of_both_cells_are_the_only_symmetry_and_it_is_one(params):
    spec = spec_of(params)
    assert [spec.sizes[name] for name in spec.groups] == [5]
    assert check_spec(lambda p: logits(p, QUESTIONS, ANSWERS), params, spec)
