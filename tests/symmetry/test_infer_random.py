"""Random small networks from a grammar: whatever is inferred must be true."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lopt.symmetry import PermutationSpec, check_spec, infer_spec

BATCH, TIME, INPUTS = 2, 4, 3


class Network:
    """A chain of layers, each of which asks for its params in its turn."""

    def __init__(self, layers):
        self.layers = layers
        self.random = np.random.default_rng(0)

    def init(self):
        self.params = []
        jax.eval_shape(lambda x: self.run(iter(()), x), np.ones((BATCH, TIME, INPUTS), "float32"))
        return self.params

    def __call__(self, params, x):
        return self.run(iter(params), x)

    def run(self, params, x):
        def param(*shape):
            given = next(params, None)
            if given is None:
                given = self.random.standard_normal(shape).astype("float32") / shape[0] ** 0.5
                self.params.append(given)
            return given

        for layer, *settings_ in self.layers:
            x = layer(param, x, *settings_)
        return dense(param, x, 2)


def dense(param, x, width):
    return jnp.tanh(x @ param(x.shape[-1], width) + param(width))


def convolution(param, x, width):
    kernel = param(3, x.shape[-1], width)
    return jax.lax.conv_general_dilated(
        x, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )


def residual(param, x, width):
    return x + dense(param, dense(param, x, width), x.shape[-1])


def concatenated(param, x, width):
    return jnp.concatenate([dense(param, x, width), x], axis=-1)


def padded(param, x, width):
    return jnp.pad(x, ((0, 0), (0, 0), (0, width)))


def gated(param, x, width):
    a, b = jnp.split(dense(param, x, 2 * width), 2, axis=-1)
    return a * jax.nn.sigmoid(b)


def maxout(param, x, width):
    return dense(param, x, 2 * width).reshape(*x.shape[:2], 2, width).max(axis=2)


def normalized(param, x, _):
    x = x - x.mean(axis=-1, keepdims=True)
    return x / jnp.sqrt(1 + jnp.mean(x**2, axis=-1, keepdims=True)) * param(x.shape[-1])


def attention(param, x, width):
    qkv = dense(param, x, 6 * width).reshape(*x.shape[:2], 3, 2, width)
    q, k, v = (qkv[:, :, i] for i in range(3))
    weights = jax.nn.softmax(jnp.einsum("bqhw,bkhw->bhqk", q, k))
    return jnp.einsum("bhqk,bkhw->bqhw", weights, v).reshape(*x.shape[:2], 2 * width)


def head_mixing(param, x, width):
    heads = dense(param, x, 2 * width).reshape(*x.shape[:2], 2, width)
    return jnp.einsum("bthw,hg->btgw", heads, param(2, 2)).reshape(*x.shape[:2], 2 * width)


def recurrent(param, x, width):
    kernel = param(x.shape[-1] + width, width)

    def step(state, item):
        state = jnp.tanh(jnp.concatenate([item, state], axis=-1) @ kernel)
        return state, state

    _, y = jax.lax.scan(step, jnp.zeros((x.shape[0], width)), x.swapaxes(0, 1))
    return y.swapaxes(0, 1)


def state_space(param, x, width):
    decay = jnp.exp(-jnp.exp(x[..., None] * param(x.shape[-1], width)))

    def combine(first, second):
        return first[0] * second[0], first[1] * second[0] + second[1]

    y = jax.lax.associative_scan(combine, (decay, x[..., None] * decay), axis=1)[1]
    return (y * param(x.shape[-1], width)).sum(axis=-1)


def memory(param, x, width):
    slots = param(width, x.shape[-1])
    scores = jnp.where(jnp.eye(width, dtype=bool), -jnp.inf, slots @ slots.T)
    slots = slots + jax.nn.softmax(scores) @ slots
    return x + jax.nn.softmax(x @ slots.T) @ slots


def decorrelated(param, x, width):
    w = param(x.shape[-1], width)
    return x @ w @ (w.T @ w - jnp.eye(width))


def time_mixing(param, x, width):
    return jnp.einsum("btd,ts,su->bud", x, param(TIME, width), param(width, TIME))


def interleaved(param, x, width):
    y = dense(param, x, 2 * width)
    return y[..., ::2] * jnp.cos(y[..., 1::2])


def shuffled(param, x, width):
    y = dense(param, x, 2 * width)
    return y.reshape(*x.shape[:2], 2, width).swapaxes(2, 3).reshape(*x.shape[:2], 2 * width)


def remembered(param, x, width):
    return jax.checkpoint(lambda x, w: jax.nn.relu(x @ w))(x, param(x.shape[-1], width))


def cumulated(param, x, _):
    return jnp.cumsum(x, axis=1) + x[..., ::-1]


def halved(param, x, _):
    return x[..., : -(-x.shape[-1] // 2)]


LAYERS = (
    dense,
    convolution,
    residual,
    concatenated,
    padded,
    gated,
    maxout,
    normalized,
    attention,
    head_mixing,
    recurrent,
    state_space,
    memory,
    decorrelated,
    time_mixing,
    interleaved,
    shuffled,
    remembered,
    cumulated,
    halved,
)
networks = st.lists(
    st.tuples(st.sampled_from(LAYERS), st.integers(2, 4)), min_size=1, max_size=5
).map(Network)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(networks)
def test_whatever_is_inferred_is_true(network):
    params = network.init()
    x = np.random.default_rng(1).standard_normal((BATCH, TIME, INPUTS)).astype("float32")
    spec = infer_spec(network, params, x)
    spec.validate(params)
    result = check_spec(network, params, spec, x)
    assert result, f"{[layer.__name__ for layer, _ in network.layers]}\n{spec}\n{result}"


def test_a_chain_of_every_layer_keeps_its_inner_groups():
    network = Network([(layer, 3) for layer in LAYERS])
    params = network.init()
    x = np.random.default_rng(1).standard_normal((BATCH, TIME, INPUTS)).astype("float32")
    spec = infer_spec(network, params, x)
    assert len(spec.groups) > 10
    assert check_spec(network, params, spec, x)
    everything = check_spec(network, params, PermutationSpec(spec.axes, spec.sizes), x)
    assert "input" in everything.failed
    assert not set(everything.failed) & set(spec.groups)
