"""State-space models and linear attention, and the specs that a person derives for them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from zoo import random_params, verify

from lopt.symmetry import infer_spec

TOKENS = jax.random.randint(jax.random.key(0), (2, 8), 0, 11)


def init(model, *args):
    return random_params(model.init, *args)


def normal(module, name, *shape):
    return module.param(name, nn.initializers.normal(), shape)


def scan_along_time(decay, x, reverse=False):
    """h[t] = decay[t] h[t - 1] + x[t], in a logarithmic number of steps."""

    def combine(first, second):
        return first[0] * second[0], first[1] * second[0] + second[1]

    return jax.lax.associative_scan(combine, (decay, x), axis=1, reverse=reverse)[1]


def causal_convolution(x, name):
    """Each channel is convolved with the steps before; the first ones are padded."""
    width = x.shape[-1]
    return nn.Conv(width, (4,), padding="CAUSAL", feature_group_count=width, name=name)(x)


class Mamba(nn.Module):
    """The selective state-space block of Gu & Dao (arXiv 2312.00752)."""

    @nn.compact
    def __call__(self, x):
        y, gate = jnp.split(nn.Dense(12, name="into")(nn.RMSNorm(name="norm")(x)), 2, axis=-1)
        y = nn.silu(causal_convolution(y, "conv"))
        step, b, c = jnp.split(nn.Dense(10, name="select")(y), (4, 7), axis=-1)
        step = nn.softplus(nn.Dense(6, name="step")(step))
        decay = jnp.exp(-step[..., None] * jnp.exp(normal(self, "a", 6, 3)))
        h = scan_along_time(decay, (step * y)[..., None] * b[:, :, None])
        y = jnp.einsum("btin,btn->bti", h, c) + y * normal(self, "skip", 6)
        return x + nn.Dense(x.shape[-1], name="out")(y * nn.silu(gate))


MAMBA = """
  block/norm/scale     d
  block/into/kernel    d i+i
  block/into/bias      i+i
  block/conv/kernel    W O i
  block/conv/bias      i
  block/select/kernel  i r+n+n
  block/select/bias    r+n+n
  block/step/kernel    r i
  block/step/bias      i
  block/a              ~i ~n
  block/skip           i
  block/out/kernel     i d
  block/out/bias       d
"""


class S5(nn.Module):
    """The layer of Smith, Warrington & Linderman (arXiv 2208.04933), in both directions."""

    @nn.compact
    def __call__(self, x):
        rates = -jnp.exp(normal(self, "real", 4)) + 1j * normal(self, "imaginary", 4)
        decay = jnp.exp(rates * jnp.exp(normal(self, "step", 4)))
        into = jax.lax.complex(*jnp.moveaxis(normal(self, "b", 4, x.shape[-1], 2), -1, 0))
        out = jax.lax.complex(*jnp.moveaxis(normal(self, "c", x.shape[-1], 8, 2), -1, 0))
        inputs = (x + 0j) @ (((decay - 1) / rates)[:, None] * into).T
        decays = decay * jnp.ones((*x.shape[:2], 1))
        states = [scan_along_time(decays, inputs, reverse) for reverse in (False, True)]
        y = (jnp.concatenate(states, axis=-1) @ out.T).real + x * normal(self, "d", x.shape[-1])
        y = nn.gelu(y)
        return x + y * nn.sigmoid(nn.Dense(x.shape[-1], name="gate")(y))


S5_TENSORS = """
  block/real         p
  block/imaginary    p
  block/step         p
  block/b            >p <d #C
  block/c            >d <p+p #D
  block/d            d
  block/gate/kernel  d d
  block/gate/bias    d
"""


class S4D(nn.Module):
    """The diagonal layer of Gu, Gupta, Goel & Ré (arXiv 2206.11893), as a long convolution."""

    @nn.compact
    def __call__(self, x):
        length, width = x.shape[1:]
        rates = -jnp.exp(normal(self, "real", width, 3)) + 1j * normal(self, "imaginary", width, 3)
        rates = rates * jnp.exp(normal(self, "step", width))[:, None]
        weights = normal(self, "c", width, 3) * (jnp.exp(rates) - 1) / rates
        kernel = jnp.einsum("dn,dnt->dt", weights, jnp.exp(rates[..., None] * jnp.arange(length)))
        transforms = [jnp.fft.rfft(u, 2 * length) for u in (x.swapaxes(1, 2), 2 * kernel.real)]
        y = jnp.fft.irfft(transforms[0] * transforms[1], 2 * length)[..., :length].swapaxes(1, 2)
        y = nn.gelu(y + x * normal(self, "d", width))
        a, b = jnp.split(nn.Dense(2 * width, name="out")(y), 2, axis=-1)
        return x + a * nn.sigmoid(b)


S4D_TENSORS = """
  block/real        ~d ~n
  block/imaginary   ~d ~n
  block/step        d
  block/c           ~d ~n
  block/d           d
  block/out/kernel  d d+d
  block/out/bias    d+d
"""


class Griffin(nn.Module):
    """A recurrent block with the RG-LRU of De et al. (arXiv 2402.19427); gates act in heads."""

    @nn.compact
    def __call__(self, x):
        y = nn.RMSNorm(name="norm")(x)
        gate = nn.gelu(nn.Dense(6, name="gate")(y))
        y = causal_convolution(nn.Dense(6, name="into")(y), "conv")
        heads = y.reshape(*y.shape[:2], 2, 3)
        open_, forget = (
            nn.sigmoid(
                jnp.einsum("bthi,hij->bthj", heads, normal(self, f"{name}_kernel", 2, 3, 3))
                + normal(self, f"{name}_bias", 2, 3)
            ).reshape(y.shape)
            for name in ("open", "forget")
        )
        log_decay = -8 * forget * nn.softplus(normal(self, "a", 6))
        y = jnp.sqrt(-jnp.expm1(2 * log_decay)) * open_ * y
        y = scan_along_time(jnp.exp(log_decay), y)
        return x + nn.Dense(x.shape[-1], name="out")(y * gate)


GRIFFIN = """
  block/norm/scale      d
  block/gate/kernel     d h*w
  block/gate/bias       h*w
  block/into/kernel     d h*w
  block/into/bias       h*w
  block/conv/kernel     W O h*w
  block/conv/bias       h*w
  block/open_kernel     #h <w >w
  block/open_bias       #h ~w
  block/forget_kernel   #h <w >w
  block/forget_bias     #h ~w
  block/a               h*w
  block/out/kernel      h*w d
  block/out/bias        d
"""


class GatedLinearAttention(nn.Module):
    """The layer of Yang et al. (arXiv 2312.06635): a state of keys by values, which decays."""

    @nn.compact
    def __call__(self, x):
        q, k, v = (nn.DenseGeneral((2, n), name=m)(x) for m, n in (("q", 3), ("k", 3), ("v", 4)))
        decay = nn.sigmoid(nn.DenseGeneral((2, 3), name="decay")(x))[..., None]
        state = scan_along_time(decay * jnp.ones(4), k[..., None] * v[..., None, :])
        y = nn.RMSNorm(name="norm")(jnp.einsum("bthk,bthkv->bthv", q, state))
        y = y * nn.silu(nn.DenseGeneral((2, 4), name="gate")(x))
        return x + nn.DenseGeneral(x.shape[-1], axis=(-2, -1), name="out")(y)


GLA = """
  block/q/kernel      d h k
  block/q/bias        h k
  block/k/kernel      d h k
  block/k/bias        h k
  block/decay/kernel  d h k
  block/decay/bias    h k
  block/v/kernel      d h v
  block/v/bias        h v
  block/norm/scale    v
  block/gate/kernel   d h v
  block/gate/bias     h v
  block/out/kernel    h v d
  block/out/bias      d
"""


class Retention(nn.Module):
    """The layer of Sun et al. (arXiv 2307.08621), in parallel form: a fixed decay in each head."""

    @nn.compact
    def __call__(self, x):
        q, k, v = (nn.DenseGeneral((2, n), name=m)(x) for m, n in (("q", 3), ("k", 3), ("v", 4)))
        time = jnp.arange(x.shape[1])
        distance = time[:, None] - time
        decay = jnp.where(distance >= 0, nn.sigmoid(normal(self, "decay", 2, 1, 1)) ** distance, 0)
        y = jnp.einsum("bqhk,bshk,hqs,bshv->bqhv", q, k, decay, v)
        return x + nn.DenseGeneral(x.shape[-1], axis=(-2, -1), name="out")(y)


RETENTION = """
  block/q/kernel    d h k
  block/q/bias      h k
  block/k/kernel    d h k
  block/k/bias      h k
  block/v/kernel    d h v
  block/v/bias      h v
  block/decay       h O P
  block/out/kernel  h v d
  block/out/bias    d
"""


class LanguageModel(nn.Module):
    block: type

    @nn.compact
    def __call__(self, tokens):
        x = self.block(name="block")(nn.Embed(11, 8, name="embed")(tokens))
        return nn.Dense(11, name="head")(x)

    def loss(self, params, tokens):
        logits = self.apply(params, tokens)[:, :-1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()


MODELS = {
    "mamba": (Mamba, MAMBA, {"i": 6, "r": 4, "n": 3}),
    "s5": (S5, S5_TENSORS, {"p": 4}),
    "s4d": (S4D, S4D_TENSORS, {"n": 3}),
    "griffin": (Griffin, GRIFFIN, {"h": 2, "w": 3}),
    "gated linear attention": (GatedLinearAttention, GLA, {"h": 2, "k": 3, "v": 4}),
    "retention": (Retention, RETENTION, {"h": 2, "k": 3, "v": 4}),
}


@pytest.mark.parametrize("name", MODELS)
def test_blocks_along_time(name):
    block, tensors, sizes = MODELS[name]
    model = LanguageModel(block)
    verify(
        model.loss,
        init(model, TOKENS),
        TOKENS,
        expect="embed/embedding @V >d \n head/kernel d Y \n head/bias Y" + tensors,
        d=8,
        **sizes,
    )


@pytest.mark.parametrize("length", range(2, 10))
def test_a_scan_keeps_its_channels_whatever_its_length(length):
    def fn(params, x):
        y = scan_along_time(jnp.exp(-x[..., None] * params["a"]), x[..., None] * params["b"])
        return jnp.einsum("btin,in->bt", y, params["c"])

    params = {name: jnp.ones((5, 3)) for name in "abc"}
    spec = infer_spec(fn, params, jnp.ones((2, length, 1)) * jnp.ones(5))
    assert spec.sizes == {"input": 5, "a": 3}
    assert spec.groups == ("a",)
