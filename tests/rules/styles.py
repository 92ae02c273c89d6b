"""Models, each written in several styles that compute the same function of the same numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from dense_styles import mlp
from style import LABELS, Model, Style, X, cross_entropy, draw, normal, same


def ensemble():
    """Three members of one hidden layer, the mean of whose losses is trained."""
    numbers = draw(
        **{
            f"{k}{i}": s
            for i in range(3)
            for k, s in (("w", (5, 8)), ("b", (8,)), ("v", (8, 3)), ("c", (3,)))
        }
    )

    def member(p, x, y):
        return cross_entropy(jnp.tanh(x @ p["w"] + p["b"]) @ p["v"] + p["c"], y)

    def split(p):
        return [{k: p[f"{k}{i}"] for k in "wbvc"} for i in range(3)]

    def write(n):
        return jax.tree.map(lambda *x: jnp.stack(x), *split(n))

    def read(p):
        return {f"{k}{i}": v[i] for k, v in p.items() for i in range(3)}

    each = jnp.stack([X] * 3)
    return Model(
        numbers,
        {
            "one by one": Style(
                lambda p, x, y: jnp.mean(jnp.stack([member(m, x, y) for m in split(p)])),
                same,
                same,
                (X, LABELS),
            ),
            "vmap": Style(
                lambda p, x, y: jnp.mean(jax.vmap(member, (0, None, None))(p, x, y)),
                write,
                read,
                (X, LABELS),
            ),
            "vmap over data": Style(
                lambda p, x, y: jnp.mean(jax.vmap(member, (0, 0, None))(p, x, y)),
                write,
                read,
                (each, LABELS),
            ),
        },
    )


def experts():
    """Three experts of one hidden layer, mixed by a router that is not trained.

    Its outputs may be permuted only where the experts are rows of one tensor.
    """
    numbers = draw(
        **{
            f"{k}{i}": s
            for i in range(3)
            for k, s in (("w", (5, 8)), ("b", (8,)), ("v", (8, 3)), ("c", (3,)))
        },
    )

    router = normal(5, 3, seed=4)

    def apart(p, r, x, y):
        gates = jax.nn.softmax(x @ r)
        outs = [jnp.tanh(x @ p[f"w{i}"] + p[f"b{i}"]) @ p[f"v{i}"] + p[f"c{i}"] for i in range(3)]
        return cross_entropy(jnp.einsum("be,ebk->bk", gates, jnp.stack(outs)), y)

    def together(p, r, x, y):
        gates = jax.nn.softmax(x @ r)
        hidden = jnp.tanh(jnp.einsum("bi,eih->ebh", x, p["w"]) + p["b"][:, None])
        outs = jnp.einsum("ebh,ehk->ebk", hidden, p["v"]) + p["c"][:, None]
        return cross_entropy(jnp.einsum("be,ebk->bk", gates, outs), y)

    def write(n):
        return {k: jnp.stack([n[f"{k}{i}"] for i in range(3)]) for k in "wbvc"}

    def read(p):
        return {f"{k}{i}": p[k][i] for k in "wbvc" for i in range(3)}

    return Model(
        numbers,
        {
            "apart": Style(apart, same, same, (router, X, LABELS)),
            "einsum": Style(together, write, read, (router, X, LABELS)),
        },
    )


def cnn():
    """Two convolutions, a gain for each channel, and a linear layer of what is flattened."""
    numbers = draw(w0=(3, 3, 2, 4), b0=(4,), g0=(4,), w1=(3, 3, 4, 4), b1=(4,), v=(64, 3), c=(3,))
    image = normal(6, 4, 4, 2)

    def last(p, x, y):
        for i in range(2):
            x = jax.lax.conv_general_dilated(
                x, p[f"w{i}"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu((x + p[f"b{i}"]) * (p["g0"] if i == 0 else 1.0))
        return cross_entropy(x.reshape(6, -1) @ p["v"] + p["c"], y)

    def first(p, x, y):
        x = x.transpose(0, 3, 1, 2)
        for i in range(2):
            x = jax.lax.conv(x, p[f"w{i}"], (1, 1), "SAME") + p[f"b{i}"]
            x = jax.nn.relu(x * (p["g0"] if i == 0 else 1.0))
        return cross_entropy(x.transpose(0, 2, 3, 1).reshape(6, -1) @ p["v"] + p["c"], y)

    def write(n):
        kernels = {k: n[k].transpose(3, 2, 0, 1) for k in ("w0", "w1")}
        return n | kernels | {k: n[k][:, None, None] for k in ("b0", "b1", "g0")}

    def read(p):
        kernels = {k: p[k].transpose(2, 3, 1, 0) for k in ("w0", "w1")}
        return p | kernels | {k: p[k][:, 0, 0] for k in ("b0", "b1", "g0")}

    data = (image, LABELS[:6])
    return Model(
        numbers,
        {
            "channels last": Style(last, same, same, data),
            "closed over": Style(lambda p: last(p, *data), same, same),
            "channels first": Style(first, write, read, data),
        },
    )


def lstm():
    """A cell of six units, as flax writes it twice and as a loop."""
    numbers = {}
    width, inputs = 6, 4
    for gate in "ifgo":
        numbers |= draw(**{f"i{gate}": (inputs, width), f"h{gate}": (width, width)})
        numbers[f"b{gate}"] = 0.1 * normal(width)
    x = normal(3, 5, inputs)

    def of(cell):
        module = nn.RNN(cell(width))
        return Style(
            lambda p, x: jnp.mean(jnp.square(module.apply({"params": {"cell": p}}, x) - 0.3)),
            write,
            read,
            (x,),
        )

    def write(n):
        cell = {f"i{g}": {"kernel": n[f"i{g}"]} for g in "ifgo"}
        return cell | {f"h{g}": {"kernel": n[f"h{g}"], "bias": n[f"b{g}"]} for g in "ifgo"}

    def read(p):
        kernels = {k: m["kernel"] for k, m in p.items()}
        return kernels | {f"b{k[1]}": m["bias"] for k, m in p.items() if "bias" in m}

    def loop(p, x):
        h = c = jnp.zeros((3, width))
        outs = []
        for t in range(5):
            i, f, g, o = (x[:, t] @ p[f"i{k}"] + p[f"b{k}"] + h @ p[f"h{k}"] for k in "ifgo")
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            outs.append(h)
        return jnp.mean(jnp.square(jnp.stack(outs, 1) - 0.3))

    return Model(
        numbers,
        {
            "linen": of(nn.LSTMCell),
            "linen, optimized": of(nn.OptimizedLSTMCell),
            "loop": Style(loop, same, same, (x,)),
        },
    )


def language_model():
    """An embedding, positions, two residual layers, and a linear layer."""
    numbers = draw(
        e=(7, 8), p=(5, 8), w0=(8, 8), b0=(8,), g0=(8,), w1=(8, 8), b1=(8,), g1=(8,), v=(8, 7)
    )
    tokens = jnp.arange(20).reshape(4, 5) % 7

    def after(p, x, tokens):
        for i in range(2):
            x = x + jnp.tanh((x * p[f"g{i}"]) @ p[f"w{i}"] + p[f"b{i}"])
        logits = x @ p["v"]
        return cross_entropy(logits.reshape(-1, 7), jnp.roll(tokens, 1).reshape(-1))

    def looked_up(p, tokens):
        return after(p, p["e"][tokens] + p["p"], tokens)

    def one_hot(p, tokens):
        return after(p, jax.nn.one_hot(tokens, 7) @ p["e"] + p["p"], tokens)

    def identity(p, tokens):
        return after(p, jnp.eye(7)[tokens] @ p["e"] + p["p"], tokens)

    def scanned(p, tokens):
        x = jnp.take(p["e"], tokens, axis=0) + p["p"]
        layers = (p["w"], p["b"], p["g"])
        x, _ = jax.lax.scan(
            lambda x, layer: (x + jnp.tanh((x * layer[2]) @ layer[0] + layer[1]), None), x, layers
        )
        logits = x @ p["v"]
        return cross_entropy(logits.reshape(-1, 7), jnp.roll(tokens, 1).reshape(-1))

    def write(n):
        stacks = {k: jnp.stack([n[f"{k}0"], n[f"{k}1"]]) for k in "wbg"}
        return stacks | {"e": n["e"], "p": n["p"][None], "v": n["v"]}

    def read(p):
        rows = {f"{k}{i}": p[k][i] for k in "wbg" for i in range(2)}
        return rows | {"e": p["e"], "p": p["p"][0], "v": p["v"]}

    args = (tokens,)
    return Model(
        numbers,
        {
            "look-up": Style(looked_up, same, same, args),
            "one-hot": Style(one_hot, same, same, args),
            "identity": Style(identity, same, same, args),
            "scan": Style(scanned, write, read, args),
        },
    )


def low_rank():
    """Two factors beside frozen weights, added to what these write, or to them."""
    numbers = draw(a=(5, 2), b=(2, 8), v=(8, 3))
    frozen = normal(5, 8, seed=3)

    def beside(p, w, x, y):
        return cross_entropy(jnp.tanh(x @ w + x @ p["a"] @ p["b"]) @ p["v"], y)

    def merged(p, w, x, y):
        return cross_entropy(jnp.tanh(x @ (w + p["a"] @ p["b"])) @ p["v"], y)

    return Model(
        numbers,
        {
            "beside": Style(beside, same, same, (frozen, X, LABELS)),
            "merged": Style(merged, same, same, (frozen, X, LABELS)),
            "closed over": Style(lambda p, x, y: beside(p, frozen, x, y), same, same, (X, LABELS)),
        },
    )


MODELS = {
    **mlp(),
    "ensemble": ensemble(),
    "experts": experts(),
    "cnn": cnn(),
    "lstm": lstm(),
    "language model": language_model(),
    "low rank": low_rank(),
}
