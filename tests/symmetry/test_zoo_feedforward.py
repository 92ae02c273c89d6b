"""Dense and convolutional models, and the specs that a person derives for them."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import optax
import pytest
from zoo import random_params, verify

IMAGES = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
VECTORS = jax.random.normal(jax.random.key(1), (4, 5))
LABELS = jnp.array([0, 2])


def init(model, *args):
    return random_params(model.init, *args)


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


class Autoencoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        code = nn.Dense(4, name="code")(nn.relu(nn.Dense(6, name="up")(x)))
        return nn.Dense(x.shape[-1], name="out")(nn.relu(nn.Dense(6, name="down")(code)))


def test_autoencoder_loss():
    model = Autoencoder()
    verify(
        lambda p, x: jnp.mean((model.apply(p, x) - x) ** 2),
        init(model, VECTORS),
        VECTORS,
        expect="""
          up/kernel    X a
          up/bias      a
          code/kernel  a b
          code/bias    b
          down/kernel  b c
          down/bias    c
          out/kernel   c X
          out/bias     X
        """,
        a=6,
        b=4,
        c=6,
    )


def test_equinox_mlp():
    model = eqx.nn.MLP(5, 3, 7, 2, key=jax.random.key(2))
    params, static = eqx.partition(model, eqx.is_array)
    verify(
        lambda p, x: jax.vmap(eqx.combine(p, static))(x),
        params,
        VECTORS,
        expect="""
          layers/0/weight  >a <X
          layers/0/bias    a
          layers/1/weight  >b <a
          layers/1/bias    b
          layers/2/weight  >Y <b
          layers/2/bias    Y
        """,
        a=7,
        b=7,
    )


def test_haiku_residual_mlp():
    def forward(x):
        x = hk.Linear(6, name="stream")(x)
        for name in ("first", "second"):
            x = x + hk.Linear(6, name=f"{name}_out")(jax.nn.tanh(hk.Linear(5, name=name)(x)))
        return hk.Linear(1, name="head")(x)[:, 0]

    model = hk.without_apply_rng(hk.transform(forward))
    verify(
        model.apply,
        init(model, VECTORS),
        VECTORS,
        expect="""
          stream/w      X s
          stream/b      s
          first/w       s a
          first/b       a
          first_out/w   a s
          first_out/b   s
          second/w      s b
          second/b      b
          second_out/w  b s
          second_out/b  s
          head/w        s Y
          head/b        Y
        """,
        s=6,
        a=5,
        b=5,
    )


class Cnn(nn.Module):
    train: bool = False

    @nn.compact
    def __call__(self, x):
        for i, width in enumerate((4, 6)):
            x = nn.Conv(width, (3, 3), name=f"conv{i}")(x)
            x = nn.BatchNorm(use_running_average=not self.train, name=f"norm{i}")(x)
            x = nn.max_pool(nn.relu(x), (2, 2), (2, 2))
        x = nn.avg_pool(x, (2, 2), (1, 1), padding="SAME")
        return nn.Dense(3, name="head")(x.reshape(x.shape[0], -1))


CNN = """
  conv0/kernel  H W X a
  conv0/bias    a
  norm0/scale   a
  norm0/bias    a
  conv1/kernel  I V a b
  conv1/bias    b
  norm1/scale   b
  norm1/bias    b
  head/kernel   S*b Y
  head/bias     Y
"""
STATISTICS = """
  batch_stats/norm0/mean  a
  batch_stats/norm0/var   a
  batch_stats/norm1/mean  b
  batch_stats/norm1/var   b
"""


def test_cnn_with_batch_statistics_among_the_params():
    verify(Cnn().apply, init(Cnn(), IMAGES), IMAGES, expect=CNN + STATISTICS, a=4, b=6, S=4)


def test_cnn_loss_with_batch_statistics_as_args():
    variables = init(Cnn(), IMAGES)

    def loss(params, statistics, x, labels):
        logits, _ = Cnn(train=True).apply(
            {"params": params, "batch_stats": statistics}, x, mutable=["batch_stats"]
        )
        return cross_entropy(logits, labels)

    args = variables["batch_stats"], IMAGES, LABELS
    verify(loss, variables["params"], *args, expect=CNN, a=4, b=6, S=4)


class Block(nn.Module):
    width: int
    stride: int
    pre_activation: bool

    @nn.compact
    def __call__(self, x):
        stride = (self.stride, self.stride)
        y = nn.relu(nn.GroupNorm(1, name="norm")(x)) if self.pre_activation else x
        y = nn.Conv(self.width, (3, 3), stride, name="first")(y)
        y = nn.Conv(self.width, (3, 3), name="second")(nn.relu(y))
        if x.shape != y.shape:
            x = nn.Conv(self.width, (1, 1), stride, use_bias=False, name="shortcut")(x)
        return x + y if self.pre_activation else nn.relu(nn.LayerNorm(name="norm")(x + y))


class ResNet(nn.Module):
    pre_activation: bool

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="stem")(x)
        x = Block(4, 1, self.pre_activation, name="block0")(x)
        x = Block(6, 2, self.pre_activation, name="block1")(x)
        return nn.Dense(3, name="head")(x.mean((1, 2)))


@pytest.mark.parametrize("pre_activation", [False, True])
def test_resnet_loss(pre_activation):
    model = ResNet(pre_activation)
    norm1 = "s" if pre_activation else "t"
    verify(
        lambda p, x, labels: cross_entropy(model.apply(p, x), labels),
        init(model, IMAGES),
        IMAGES,
        LABELS,
        expect=f"""
          stem/kernel             H0 W0 X s
          stem/bias               s
          block0/first/kernel     H1 W1 s a
          block0/first/bias       a
          block0/second/kernel    H2 W2 a s
          block0/second/bias      s
          block0/norm/scale       s
          block0/norm/bias        s
          block1/first/kernel     H3 W3 s b
          block1/first/bias       b
          block1/second/kernel    H4 W4 b t
          block1/second/bias      t
          block1/shortcut/kernel  H5 W5 s t
          block1/norm/scale       {norm1}
          block1/norm/bias        {norm1}
          head/kernel             t Y
          head/bias               Y
        """,
        s=4,
        a=4,
        b=6,
        t=6,
    )


class Separable(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), name="stem")(x))
        x = nn.relu(nn.Conv(4, (3, 3), feature_group_count=4, name="depth0")(x))
        x = nn.relu(nn.Conv(6, (1, 1), name="point0")(x))
        x = nn.relu(nn.Conv(12, (3, 3), feature_group_count=6, name="depth1")(x))
        x = nn.relu(nn.Conv(8, (1, 1), name="point1")(x))
        x = nn.relu(nn.Conv(12, (3, 3), feature_group_count=4, name="grouped")(x))
        return nn.Dense(3, name="head")(x.mean((1, 2)))


def test_depthwise_separable_and_grouped_convolutions():
    model = Separable()
    verify(
        model.apply,
        init(model, IMAGES),
        IMAGES,
        expect="""
          stem/kernel     H0 W0 X a
          stem/bias       a
          depth0/kernel   H1 W1 I1 a
          depth0/bias     a
          point0/kernel   H2 W2 a b
          point0/bias     b
          depth1/kernel   H3 W3 I3 b*m
          depth1/bias     b*m
          point1/kernel   H4 W4 b*m g*c
          point1/bias     g*c
          grouped/kernel  H5 W5 c g*d
          grouped/bias    g*d
          head/kernel     g*d Y
          head/bias       Y
        """,
        a=4,
        b=6,
        m=2,
        g=4,
        c=2,
        d=3,
    )


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.GroupNorm(3, name="groups")(nn.Conv(12, (3, 3), name="conv0")(x)))
        x = nn.LayerNorm(name="layer")(nn.Conv(6, (3, 3), name="conv1")(x))
        return nn.Dense(3, name="head")(x.max((1, 2)))


def test_group_norm_permutes_groups_and_channels_within_them():
    model = Normalized()
    verify(
        model.apply,
        init(model, IMAGES),
        IMAGES,
        expect="""
          conv0/kernel  H0 W0 X g*c
          conv0/bias    g*c
          groups/scale  g*c
          groups/bias   g*c
          conv1/kernel  H1 W1 g*c d
          conv1/bias    d
          layer/scale   d
          layer/bias    d
          head/kernel   d Y
          head/bias     Y
        """,
        g=3,
        c=4,
        d=6,
    )


class UNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        a = nn.relu(nn.Conv(4, (3, 3), name="down0")(x))
        b = nn.relu(nn.Conv(5, (3, 3), name="down1")(nn.max_pool(a, (2, 2), (2, 2))))
        c = nn.relu(nn.Conv(6, (3, 3), name="bottom")(nn.avg_pool(b, (2, 2), (2, 2))))
        d = nn.ConvTranspose(7, (2, 2), (2, 2), name="up1")(c)
        d = nn.relu(nn.Conv(5, (3, 3), name="merge1")(jnp.concatenate([d, b], -1)))
        e = jax.image.resize(d, (*a.shape[:3], d.shape[-1]), "bilinear")
        e = nn.relu(nn.Conv(4, (3, 3), name="merge0")(jnp.concatenate([e, a], -1)))
        return nn.Conv(2, (1, 1), name="head")(e)


def test_unet_with_concatenating_skips():
    model = UNet()
    verify(
        model.apply,
        init(model, IMAGES),
        IMAGES,
        expect="""
          down0/kernel   H0 W0 X a
          down0/bias     a
          down1/kernel   H1 W1 a b
          down1/bias     b
          bottom/kernel  H2 W2 b c
          bottom/bias    c
          up1/kernel     H3 W3 c d
          up1/bias       d
          merge1/kernel  H4 W4 d+b e
          merge1/bias    e
          merge0/kernel  H5 W5 e+a f
          merge0/bias    f
          head/kernel    H6 W6 f Y
          head/bias      Y
        """,
        a=4,
        b=5,
        c=6,
        d=7,
        e=5,
        f=4,
    )


class Mixer(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (4, 4), (4, 4), name="patches")(x)
        x = x.reshape(x.shape[0], -1, 8)
        for i in range(2):
            y = nn.LayerNorm(name=f"norm{i}")(x).swapaxes(1, 2)
            y = nn.Dense(4, name=f"token_down{i}")(nn.gelu(nn.Dense(5, name=f"token_up{i}")(y)))
            x = x + y.swapaxes(1, 2)
            y = nn.gelu(nn.Dense(12, name=f"channel_up{i}")(x))
            x = x + nn.Dense(8, name=f"channel_down{i}")(y)
        return nn.Dense(3, name="head")(x.mean(1))


def test_mlp_mixer():
    model = Mixer()
    block = """
      norm{i}/scale           c
      norm{i}/bias            c
      token_up{i}/kernel      T t{i}
      token_up{i}/bias        t{i}
      token_down{i}/kernel    t{i} T
      token_down{i}/bias      T
      channel_up{i}/kernel    c h{i}
      channel_up{i}/bias      h{i}
      channel_down{i}/kernel  h{i} c
      channel_down{i}/bias    c
    """
    verify(
        model.apply,
        init(model, IMAGES),
        IMAGES,
        expect="patches/kernel H W X c \n patches/bias c \n head/kernel c Y \n head/bias Y"
        + block.format(i=0).rstrip()
        + block.format(i=1),
        c=8,
        t0=5,
        t1=5,
        h0=12,
        h1=12,
    )
