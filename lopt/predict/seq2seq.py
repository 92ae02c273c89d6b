"""An encoder and a decoder of one GRU cell each, from a question's tokens to an answer's."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from lopt.predict.arithmetic import BLANK, TOKENS

_GATES = ("r", "z", "n")


def init(key: Array, width: int, scale: Array | float = 1.0) -> PyTree[Array]:
    """Random params: kernels normal, of standard deviation scale / sqrt(width); biases zero.

    The cells' params are those of `flax.linen.GRUCell`: of the reset gate r, the update gate z and
    the new state n, an input kernel `i.` and a hidden one `h.`.

    Args:
      key: what they are drawn with.
      width: of the hidden state.
      scale: may be traced.

    Example:
      >>> params = init(jax.random.key(0), 8)
      >>> sorted(params["encoder"]), params["encoder"]["hn"]["kernel"].shape
      (['hn', 'hr', 'hz', 'in', 'ir', 'iz'], (8, 8))
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
    cell = _Cell(params["decoder"])
    inputs = cell.inputs(_before(answers))
    h, states = encode(params, questions), []
    for t in range(answers.shape[1]):
        h = cell.step(h, inputs[:, t])
        states.append(h)
    return _output(params, jnp.stack(states, 1))


def decode(
    params: PyTree[Array], questions: Int[Array, "batch question"], length: int
) -> Int[Array, "batch length"]:
    """The answers, always with the likeliest token next."""
    cell = _Cell(params["decoder"])
    h, token, tokens = encode(params, questions), jnp.full(len(questions), BLANK), []
    for _ in range(length):
        h = cell.step(h, cell.inputs(token))
        token = jnp.argmax(_output(params, h), -1)
        tokens.append(token)
    return jnp.stack(tokens, 1)


def encode(
    params: PyTree[Array], questions: Int[Array, "batch question"]
) -> Float[Array, "batch width"]:
    """The hidden state after a question."""
    cell = _Cell(params["encoder"])
    inputs = cell.inputs(questions)
    h = jnp.zeros((len(questions), cell.width))
    for t in range(questions.shape[1]):
        h = cell.step(h, inputs[:, t])
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
    """The share of questions whose decoded answer is right in every token."""
    return jnp.mean(jnp.all(decode(params, questions, answers.shape[1]) == answers, 1))


class _Cell:
    """A GRU cell, whose three gates are computed by one product."""

    def __init__(self, params: PyTree[Array]):
        self.width = params["hn"]["kernel"].shape[0]
        self._inputs = jnp.concatenate([params[f"i{g}"]["kernel"] for g in _GATES], 1)
        self._bias = jnp.concatenate([params[f"i{g}"]["bias"] for g in _GATES])
        self._hidden = jnp.concatenate([params[f"h{g}"]["kernel"] for g in _GATES], 1)
        self._new_bias = params["hn"]["bias"]

    def inputs(self, tokens: Int[Array, "..."]) -> Float[Array, "... gates"]:
        """What tokens add to the gates."""
        return jax.nn.one_hot(tokens, TOKENS) @ self._inputs + self._bias

    def step(
        self, h: Float[Array, "batch width"], inputs: Float[Array, "batch gates"]
    ) -> Float[Array, "batch width"]:
        """The next hidden state."""
        w = self.width
        gates = h @ self._hidden
        r = jax.nn.sigmoid(inputs[:, :w] + gates[:, :w])
        z = jax.nn.sigmoid(inputs[:, w : 2 * w] + gates[:, w : 2 * w])
        n = jnp.tanh(inputs[:, 2 * w :] + r * (gates[:, 2 * w :] + self._new_bias))
        return (1 - z) * n + z * h


def _output(params: PyTree[Array], h: Float[Array, "... width"]) -> Float[Array, "... tokens"]:
    return h @ params["output"]["kernel"] + params["output"]["bias"]


def _before(answers: Int[Array, "batch answer"]) -> Int[Array, "batch answer"]:
    """The token before each."""
    return jnp.concatenate([jnp.full((len(answers), 1), BLANK), answers[:, :-1]], 1)
