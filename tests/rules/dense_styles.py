"""Dense layers in several styles of code."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx
from style import (
    KEY,
    LABELS,
    MEAN,
    SCALE,
    Model,
    Style,
    X,
    cross_entropy,
    draw,
    nested,
    same,
)

LAYERS = range(4)


def mlp():
    """Five inputs, three layers of eight, of which two are square, three classes."""
    numbers = draw(w0=(5, 8), b0=(8,), w1=(8, 8), b1=(8,), w2=(8, 8), b2=(8,), w3=(8, 3), b3=(3,))

    def forward(p, x):
        for i in range(3):
            x = jnp.tanh(x @ p[f"w{i}"] + p[f"b{i}"])
        return x @ p["w3"] + p["b3"]

    def loss(p, x, y):
        return cross_entropy(forward(p, x), y)

    module = nn.Sequential(
        [nn.Dense(8), nn.tanh, nn.Dense(8), nn.tanh, nn.Dense(8), nn.tanh, nn.Dense(3)]
    )
    names = {i: f"layers_{2 * i}" for i in LAYERS}

    def write_linen(n):
        return {names[i]: {"kernel": n[f"w{i}"], "bias": n[f"b{i}"]} for i in LAYERS}

    def read_linen(p):
        kernels = {f"w{i}": p[names[i]]["kernel"] for i in LAYERS}
        return kernels | {f"b{i}": p[names[i]]["bias"] for i in LAYERS}

    def scanned(p, x, y):
        x = jnp.tanh(x @ p["w0"] + p["b0"])
        x, _ = jax.lax.scan(
            lambda x, layer: (jnp.tanh(x @ layer[0] + layer[1]), None), x, (p["w"], p["b"])
        )
        return cross_entropy(x @ p["w3"] + p["b3"], y)

    def indexed(p, x, y):
        x = jnp.tanh(x @ p["w0"] + p["b0"])
        for i in range(2):
            x = jnp.tanh(x @ p["w"][i] + p["b"][i])
        return cross_entropy(x @ p["w3"] + p["b3"], y)

    def counted(p, x, y):
        x = jnp.tanh(x @ p["w0"] + p["b0"])
        x = jax.lax.fori_loop(0, 2, lambda i, x: jnp.tanh(x @ p["w"][i] + p["b"][i]), x)
        return cross_entropy(x @ p["w3"] + p["b3"], y)

    def write_stacked(n):
        stacks = {k: jnp.stack([n[f"{k}1"], n[f"{k}2"]]) for k in "wb"}
        return stacks | {k: n[k] for k in ("w0", "b0", "w3", "b3")}

    def read_stacked(p):
        rows = {f"{k}{i + 1}": p[k][i] for k in "wb" for i in range(2)}
        return rows | {k: p[k] for k in ("w0", "b0", "w3", "b3")}

    def transposed(p, x, y):
        def one(x):
            for i in LAYERS:
                x = p[f"w{i}"] @ x + p[f"b{i}"]
                x = x if i == 3 else jnp.tanh(x)
            return x

        return cross_entropy(jax.vmap(one)(x), y)

    def turn(n):
        return {k: v.T for k, v in n.items()}

    def wide_biases(p, x, y):
        return loss({k: v[0] if k[0] == "b" else v for k, v in p.items()}, x, y)

    def write_wide(n):
        return {k: v[None] if k[0] == "b" else v for k, v in n.items()}

    def read_wide(p):
        return {k: v[0] if k[0] == "b" else v for k, v in p.items()}

    template = eqx.nn.MLP(5, 3, 8, 3, activation=jnp.tanh, key=KEY)
    arrays, static = eqx.partition(template, eqx.is_array)

    def equinox_loss(p, x, y):
        return cross_entropy(jax.vmap(eqx.combine(p, static))(x), y)

    def write_equinox(n):
        layers = lambda m: [a for layer in m.layers for a in (layer.weight, layer.bias)]  # noqa: E731
        return eqx.tree_at(layers, arrays, [a for i in LAYERS for a in (n[f"w{i}"].T, n[f"b{i}"])])

    def read_equinox(p):
        found = {f"w{i}": p.layers[i].weight.T for i in LAYERS}
        return found | {f"b{i}": p.layers[i].bias for i in LAYERS}

    def haiku_net(x):
        return hk.nets.MLP([8, 8, 8, 3], activation=jnp.tanh)(x)

    net = hk.without_apply_rng(hk.transform(haiku_net))

    def write_haiku(n):
        return {f"mlp/~/linear_{i}": {"w": n[f"w{i}"], "b": n[f"b{i}"]} for i in LAYERS}

    def read_haiku(p):
        return {f"{k}{i[13:]}": v for i, layer in p.items() for k, v in layer.items()}

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List(
                [nnx.Linear(*sizes, rngs=rngs) for sizes in ((5, 8), (8, 8), (8, 8), (8, 3))]
            )

        def __call__(self, x):
            for i, layer in enumerate(self.layers):
                x = layer(x) if i == 3 else jnp.tanh(layer(x))
            return x

    graph, _ = nnx.split(Net(nnx.Rngs(0)))

    def write_nnx(n):
        flat = {
            ("layers", i, name): nnx.Param(n[f"{k}{i}"])
            for i in LAYERS
            for k, name in (("w", "kernel"), ("b", "bias"))
        }
        return nnx.from_flat_state(flat)

    def read_nnx(p):
        return {
            f"{k[0] if k != 'kernel' else 'w'}{i}": v.get_value()
            for (_, i, k), v in nnx.to_flat_state(p)
        }

    xs = jnp.concatenate([X, X + 1.0])
    bytes_ = jnp.round(40 * X + 100).astype(jnp.uint8)
    data = (X, LABELS)
    base = Style(loss, same, same, data)
    return {
        "mlp": Model(
            numbers,
            {
                "arguments": base,
                "closed over": Style(lambda p: loss(p, *data), same, same),
                "drawn by index": Style(
                    lambda p, i, y: loss(p, xs[i], y), same, same, (jnp.arange(16), LABELS)
                ),
                "modules": nested(lambda p, x, y: loss(nested(None).read(p), x, y), data),
                "linen": Style(
                    lambda p, x, y: cross_entropy(module.apply({"params": p}, x), y),
                    write_linen,
                    read_linen,
                    data,
                ),
                "nnx": Style(
                    lambda p, x, y: cross_entropy(nnx.merge(graph, p)(x), y),
                    write_nnx,
                    read_nnx,
                    data,
                ),
                "haiku": Style(
                    lambda p, x, y: cross_entropy(net.apply(p, x), y),
                    write_haiku,
                    read_haiku,
                    data,
                ),
                "equinox": Style(equinox_loss, write_equinox, read_equinox, data),
                "outputs first": Style(transposed, turn, turn, data),
                "biases of a row": Style(wide_biases, write_wide, read_wide, data),
                "scan": Style(scanned, write_stacked, read_stacked, data),
                "indices": Style(indexed, write_stacked, read_stacked, data),
                "fori_loop": Style(counted, write_stacked, read_stacked, data),
            },
        ),
        "mlp of bytes": Model(
            numbers,
            {
                "as floats": Style(loss, same, same, (bytes_.astype(jnp.float32) / 255, LABELS)),
                "cast": Style(
                    lambda p, x, y: loss(p, x.astype(jnp.float32) / 255, y),
                    same,
                    same,
                    (bytes_, LABELS),
                ),
            },
        ),
        "standardized mlp": Model(
            numbers,
            {
                "before": Style(loss, same, same, ((X - MEAN) / SCALE, LABELS)),
                "in the loss": Style(
                    lambda p, x, y: loss(p, (x - MEAN) / SCALE, y), same, same, data
                ),
            },
        ),
    }
