"""Transformers, and the specs that a person derives for them."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from zoo import random_params, verify

TOKENS = jax.random.randint(jax.random.key(0), (2, 6), 0, 11)
IMAGES = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))


def init(model, *args):
    return random_params(model.init, *args)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, mask=None):
        y = nn.LayerNorm(name="norm0")(x)
        x = x + nn.MultiHeadDotProductAttention(2, dropout_rate=0.1, name="attend")(
            y, mask=mask, deterministic=True
        )
        y = nn.Dense(12, name="up")(nn.LayerNorm(name="norm1")(x))
        return x + nn.Dense(x.shape[-1], name="down")(nn.gelu(y))


def block(name, i, stacked=""):
    """The tensors of a linen block whose stream is `d`."""
    # Of stacks the convention knows nothing: all roles are said.
    unit, read, written = ("~", "<", ">") if stacked else ("", "", "")
    return f"""
      {name}/norm0/scale          {stacked} {unit}d
      {name}/norm0/bias           {stacked} {unit}d
      {name}/attend/query/kernel  {stacked} {read}d {written}h{i} {written}k{i}
      {name}/attend/query/bias    {stacked} {unit}h{i} {unit}k{i}
      {name}/attend/key/kernel    {stacked} {read}d {written}h{i} {written}k{i}
      {name}/attend/key/bias      {stacked} {unit}h{i} {unit}k{i}
      {name}/attend/value/kernel  {stacked} {read}d {written}h{i} {written}v{i}
      {name}/attend/value/bias    {stacked} {unit}h{i} {unit}v{i}
      {name}/attend/out/kernel    {stacked} {read}h{i} {read}v{i} {written}d
      {name}/attend/out/bias      {stacked} {unit}d
      {name}/norm1/scale          {stacked} {unit}d
      {name}/norm1/bias           {stacked} {unit}d
      {name}/up/kernel            {stacked} {read}d {written}m{i}
      {name}/up/bias              {stacked} {unit}m{i}
      {name}/down/kernel          {stacked} {read}m{i} {written}d
      {name}/down/bias            {stacked} {unit}d
    """


def block_sizes(*indices):
    sizes = {"h": 2, "k": 4, "v": 4, "m": 12}
    return {f"{group}{i}": size for i in indices for group, size in sizes.items()}


class Transformer(nn.Module):
    block: type

    @nn.compact
    def __call__(self, tokens):
        positions = self.param("positions", nn.initializers.normal(), (10, 8))
        x = nn.Embed(11, 8, name="embed")(tokens) + positions[: tokens.shape[1]]
        for i in range(2):
            x = self.block(name=f"block{i}")(x, nn.make_causal_mask(tokens))
        return nn.Dense(11, name="head")(nn.LayerNorm(name="norm")(x))


@pytest.mark.parametrize("block_type", [Block, nn.remat(Block)], ids=["plain", "remat"])
def test_linen_transformer_loss(block_type):
    model = Transformer(block_type)

    def loss(params, tokens):
        logits = model.apply(params, tokens)[:, :-1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

    verify(
        loss,
        init(model, TOKENS),
        TOKENS,
        expect="""
          embed/embedding  @V >d
          positions        @P >d
          norm/scale       d
          norm/bias        d
          head/kernel      d Y
          head/bias        Y
        """
        + block("block0", 0)
        + block("block1", 1),
        d=8,
        **block_sizes(0, 1),
    )


class ScannedBlock(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return Block(name="block")(x), None


class Stacked(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, 8, name="embed")(tokens)
        layers = nn.scan(
            nn.remat(ScannedBlock),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=3,
        )
        x, _ = layers(name="layers")(x, None)
        return nn.Dense(11, name="head")(x)


def test_layers_stacked_with_scan():
    verify(
        Stacked().apply,
        init(Stacked(), TOKENS),
        TOKENS,
        expect="embed/embedding @V >d \n head/kernel d Y \n head/bias Y"
        + block("layers/block", 0, stacked="#L"),
        d=8,
        **block_sizes(0),
    )


def split_columns(qkv, heads):
    return [x.reshape(*x.shape[:2], heads, -1) for x in jnp.split(qkv, 3, axis=-1)]


def reshape_and_index(qkv, heads):
    table = qkv.reshape(*qkv.shape[:2], 3, heads, -1)
    return [table[:, :, i] for i in range(3)]


def transpose_and_unpack(qkv, heads):
    table = qkv.reshape(*qkv.shape[:2], 3, heads, -1).transpose(2, 0, 3, 1, 4)
    return [x.swapaxes(1, 2) for x in table]


def split_heads(qkv, heads):
    return jnp.split(qkv.reshape(*qkv.shape[:2], 3 * heads, -1), 3, axis=2)


class Gpt(nn.Module):
    take_apart: callable

    @nn.compact
    def __call__(self, tokens):
        batch, length = tokens.shape
        embed = nn.Embed(11, 8, name="embed")
        x = embed(tokens) + nn.Embed(10, 8, name="positions")(jnp.arange(length))
        for i in range(2):
            y = nn.LayerNorm(use_bias=False, name=f"norm{i}")(x)
            q, k, v = self.take_apart(nn.Dense(24, name=f"qkv{i}")(y), 2)
            scores = jnp.einsum("bqhw,bkhw->bhqk", q, k) / 2
            causal = jnp.tril(jnp.ones((length, length), bool))
            weights = jax.nn.softmax(jnp.where(causal, scores, -1e9))
            y = jnp.einsum("bhqk,bkhw->bqhw", weights, v).reshape(batch, length, 8)
            x = x + nn.Dense(8, name=f"project{i}")(y)
            x = x + nn.Dense(8, name=f"down{i}")(nn.gelu(nn.Dense(12, name=f"up{i}")(x)))
        return embed.attend(x)


@pytest.mark.parametrize(
    "take_apart", [split_columns, reshape_and_index, transpose_and_unpack, split_heads]
)
def test_gpt_with_fused_projections_and_tied_embeddings(take_apart):
    model = Gpt(take_apart)
    layer = """
      norm{i}/scale      d
      qkv{i}/kernel      d h{i}*k{i}+h{i}*k{i}+h{i}*v{i}
      qkv{i}/bias        h{i}*k{i}+h{i}*k{i}+h{i}*v{i}
      project{i}/kernel  h{i}*v{i} d
      project{i}/bias    d
      up{i}/kernel       d m{i}
      up{i}/bias         m{i}
      down{i}/kernel     m{i} d
      down{i}/bias       d
    """
    verify(
        model.apply,
        init(model, TOKENS),
        TOKENS,
        expect="embed/embedding @V >d \n positions/embedding @P >d"
        + layer.format(i=0)
        + layer.format(i=1),
        d=8,
        **block_sizes(0, 1),
    )


class VisionTransformer(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (4, 4), (4, 4), padding="VALID", name="patches")(x)
        x = x.reshape(x.shape[0], -1, 8)
        first = self.param("first", nn.initializers.normal(), (1, 1, 8))
        x = jnp.concatenate([jnp.tile(first, (x.shape[0], 1, 1)), x], axis=1)
        x = x + self.param("positions", nn.initializers.normal(), (1, 5, 8))
        x = nn.LayerNorm(name="norm")(Block(name="block")(x))
        return nn.Dense(3, name="head")(x[:, 0])


def test_vision_transformer():
    verify(
        VisionTransformer().apply,
        init(VisionTransformer(), IMAGES),
        IMAGES,
        expect="""
          patches/kernel  H W X d
          patches/bias    d
          first           A B d
          positions       C @P >d
          norm/scale      d
          norm/bias       d
          head/kernel     d Y
          head/bias       Y
        """
        + block("block", 0),
        d=8,
        **block_sizes(0),
    )


class NnxTransformer(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(11, 8, rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(2, 8, dropout_rate=0.1, decode=False, rngs=rngs)
        self.up = nnx.Linear(8, 12, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.down = nnx.Linear(12, 8, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = x + self.attend(self.norm(x))
        return self.head(x + self.down(self.drop(nnx.gelu(self.up(x)))))


def test_nnx_transformer_with_split_state():
    model = NnxTransformer(nnx.Rngs(0))
    model.eval()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    spec = verify(
        lambda p, rest, tokens: nnx.merge(graph, p, rest)(tokens),
        params,
        rest,
        TOKENS,
        expect="""
          embed/embedding      @V >d
          norm/scale           d
          norm/bias            d
          attend/query/kernel  d h k
          attend/query/bias    h k
          attend/key/kernel    d h k
          attend/key/bias      h k
          attend/value/kernel  d h v
          attend/value/bias    h v
          attend/out/kernel    h v d
          attend/out/bias      d
          up/kernel            d m
          up/bias              m
          down/kernel          m d
          down/bias            d
          head/kernel          d Y
          head/bias            Y
        """,
        d=8,
        h=2,
        k=4,
        v=4,
        m=12,
    )
    assert spec.groups == ("embed", "attend/query.heads", "attend/query", "attend/value", "up")


def test_haiku_attention_merges_heads_and_width():
    def forward(x):
        glorot = hk.initializers.VarianceScaling()
        x = hk.Linear(8, name="stream")(x)
        attend = hk.MultiHeadAttention(2, 4, model_size=8, w_init=glorot, name="attend")
        return hk.Linear(3, name="head")(x + attend(x, x, x))

    model = hk.without_apply_rng(hk.transform(forward))
    x = jax.random.normal(jax.random.key(3), (2, 6, 5))
    verify(
        model.apply,
        init(model, x),
        x,
        expect="""
          stream/w         X d
          stream/b         d
          attend/query/w   d h*k
          attend/query/b   h*k
          attend/key/w     d h*k
          attend/key/b     h*k
          attend/value/w   d h*v
          attend/value/b   h*v
          attend/linear/w  h*v d
          attend/linear/b  d
          head/w           d Y
          head/b           Y
        """,
        d=8,
        h=2,
        k=4,
        v=4,
    )


def test_equinox_attention():
    model = eqx.nn.MultiheadAttention(2, 8, key=jax.random.key(2))
    params, static = eqx.partition(model, eqx.is_array)
    verify(
        lambda p, x: eqx.combine(p, static)(x, x, x),
        params,
        jax.random.normal(jax.random.key(3), (6, 8)),
        expect="""
          query_proj/weight   >h*k <X
          key_proj/weight     >h*k <X
          value_proj/weight   >h*v <X
          output_proj/weight  >Y <h*v
        """,
        h=2,
        k=4,
        v=4,
    )
