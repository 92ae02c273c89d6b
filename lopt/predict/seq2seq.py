"""An encoder and a decoder of one GRU cell each, from a question's tokens to an answer's."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from lopt.predict.arithmetic import BLANK, TOKENS, all_sums
from lopt.symmetry import PermutationSpec, infer_spec

_GATES = ("r", "z", "n")


def init(key: Array, width: int, scale: Array | float = 1.0) -> PyTree[Array]:
    """Random params: kernels normal, of standard deviation scale / sqrt(width); biases zero.

    The cells' params are those of `flax.linen.GRUCell`: of the reset gate r, the update gate z and
    the new state n, an input kernel `i.` and a hidden one `h.`. The scale may be traced.
    """
    keys = iter(jax.random.split(key, 13))

    def kernel(rows: int, columns: int) -> Array:
        return jax.random.normal(next(keys), (rows, columns)) * (scale / math.sqrt(width))

    def cell() -> PyTree[Array]:
        inputs = {f"i{g}": {"kernel": kernel(TOKENS, width)} for g in _GATES}
        hidden = {f"h{g}": {"kernel": kernel(width, width)} for g in _GATES}
        params = inputs | hidden
        for name in ("ir", "iz", "in", "hn"):
            params[name]["bias"] = jnp.zeros(width)
        return params

    output = {"kernel": kernel(width, TOKENS), "bias": jnp.zeros(TOKENS)}
    return {"encoder": cell(), "decoder": cell(), "output": output}


def logits(
    params: PyTree[Array],
    questions: Int[Array, "batch question"],
    answers: Int[Array, "batch answer"],
) -> Float[Array, "batch answer tokens"]:
    """Of each token of the answers, given those before it."""
    blanks = jnp.full((len(answers), 1), BLANK)
    before = jnp.concatenate([blanks, answers[:, :-1]], 1)
    h, states = encode(params, questions), []
    for t in range(answers.shape[1]):
        h = _step(params["decoder"], h, before[:, t])
        states.append(h)
    return _output(params, jnp.stack(states, 1))


def decode(
    params: PyTree[Array], questions: Int[Array, "batch question"], length: int
) -> Int[Array, "batch length"]:
    """The answers, always with the likeliest token next."""
    h, token, tokens = encode(params, questions), jnp.full(len(questions), BLANK), []
    for _ in range(length):
        h = _step(params["decoder"], h, token)
        token = jnp.argmax(_output(params, h), -1)
        tokens.append(token)
    return jnp.stack(tokens, 1)


def encode(
    params: PyTree[Array], questions: Int[Array, "batch question"]
) -> Float[Array, "batch width"]:
    """The hidden state after a question."""
    cell = params["encoder"]
    h = jnp.zeros((len(questions), len(cell["hn"]["bias"])))
    for t in range(questions.shape[1]):
        h = _step(cell, h, questions[:, t])
    return h


def loss(
    params: PyTree[Array],
    questions: Int[Array, "batch question"],
    answers: Int[Array, "batch answer"],
) -> Float[Array, ""]:
    """The mean cross-entropy of the answers' tokens."""
    log = jax.nn.log_softmax(logits(params, questions, answers))
    return -jnp.mean(jnp.sum(log * jax.nn.one_hot(answers, TOKENS), -1))


def success(
    params: PyTree[Array],
    questions: Int[Array, "batch question"],
    answers: Int[Array, "batch answer"],
) -> Float[Array, ""]:
    """The fraction of questions whose decoded answer is right in every token."""
    return jnp.mean(jnp.all(decode(params, questions, answers.shape[1]) == answers, 1))


def spec_of(params: PyTree[Array]) -> PermutationSpec:
    """The weight space of a network, inferred from its code."""
    sums = all_sums(4).take(np.arange(1))
    return infer_spec(lambda p: logits(p, *map(jnp.asarray, sums)), params)


def _step(
    cell: PyTree[Array], h: Float[Array, "batch width"], token: Int[Array, " batch"]
) -> Float[Array, "batch width"]:
    gru = nn.GRUCell(h.shape[-1])
    return gru.apply({"params": cell}, h, jax.nn.one_hot(token, TOKENS))[0]


def _output(params: PyTree[Array], h: Float[Array, "... width"]) -> Float[Array, "... tokens"]:
    return h @ params["output"]["kernel"] + params["output"]["bias"]
