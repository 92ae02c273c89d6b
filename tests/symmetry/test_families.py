"""Each family of primitives: what it keeps, what it fixes, and that this is true."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from zoo import groups_alone, params_and_spec, total

from lopt.symmetry import check_spec, infer_spec

X = jax.random.normal(jax.random.key(0), (5, 3))


def softmax_of_others(scores):
    position = jnp.arange(len(scores))
    return jax.nn.softmax(jnp.where(position[:, None] == position, -jnp.inf, scores))


CASES = {
    # Elementwise operations, broadcasts and constants.
    "scale": (lambda p: total(p["a"] * p["b"] + 1.0), "a[4,3] i j; b[3] j"),
    "constant": (lambda p: total(p["a"] * np.array([[1.0, 1.0, 2.0]])), "a[4,3] i J"),
    "uniform constant": (lambda p: total(p["a"] * np.ones((1, 3))), "a[4,3] i j"),
    "counting": (lambda p: total(p["a"] * jnp.arange(3.0)), "a[4,3] i J"),
    "column of one": (lambda p: total(p["a"] + p["b"]), "a[4,3] i j; b[4,1] i O"),
    "clamp": (lambda p: total(jnp.clip(p["a"], p["b"][0], 1.0)), "a[4,3] i j; b[2] J"),
    "where": (lambda p: total(jnp.where(p["a"] > 0, p["b"], 0.0)), "a[4,3] i j; b[4,3] i j"),
    # Contractions.
    "matmul": (lambda p: total(p["a"] @ p["b"]), "a[4,3] i j; b[3,5] j k"),
    "gram": (lambda p: total(p["a"] @ p["a"].T), "a[4,3] i j"),
    "square": (lambda p: total(p["a"] @ p["a"]), "a[3,3] i i"),
    "trace": (lambda p: jnp.einsum("ii,ij->j", p["a"], p["b"]).sum(), "a[3,3] i i; b[3,4] i k"),
    "batch": (
        lambda p: total(jnp.einsum("bi,bij->bj", p["a"], p["b"])),
        "a[2,3] b i; b[2,3,4] b i j",
    ),
    "pointwise convolution": (
        lambda p: total(lax.conv(p["a"], p["b"], (1,), "VALID")),
        "a[2,3,4] n c s; b[5,3,1] >d <c O",
    ),
    "convolutions of an ensemble": (
        lambda p: total(
            jax.vmap(lambda x, a, b: lax.conv(lax.conv(x, a, (1,), "SAME"), b, (1,), "SAME"))(
                np.broadcast_to(np.sin(np.arange(24.0)).reshape(2, 3, 4), (2, 2, 3, 4)),
                p["a"],
                p["b"],
            )
        ),
        "a[2,5,3,3] e c X V; b[2,6,5,3] e d c W",
    ),
    "convolution": (
        lambda p: total(lax.conv(p["a"], p["b"], (1,), "SAME")),
        "a[2,3,4] n c S; b[5,3,3] >d <c W",
    ),
    # Reductions.
    "softmax": (lambda p: total(jax.nn.softmax(p["a"])), "a[4,3] i j"),
    "logsumexp": (lambda p: jax.nn.logsumexp(p["a"], 1).max(), "a[4,3] i j"),
    "argmax": (lambda p: jnp.argmax(p["a"], 1).sum() + total(p["a"]), "a[4,3] i J"),
    "cumsum": (lambda p: total(jnp.cumsum(p["a"], 1)), "a[4,3] i J"),
    "sort": (lambda p: total(jnp.sort(p["a"], 1) * jnp.arange(3.0)), "a[4,3] i j"),
    "argsort": (lambda p: total(jnp.argsort(p["a"], 1) * p["a"]), "a[4,3] i J"),
    "top_k": (lambda p: total(lax.top_k(p["a"], 2)[0]), "a[4,3] i J"),
    "pool": (
        lambda p: total(lax.reduce_window(p["a"], 0.0, lax.add, (1, 2), (1, 1), "SAME")),
        "a[4,3] i J",
    ),
    "fft": (lambda p: total(jnp.abs(jnp.fft.fft(p["a"])[:, 1])), "a[4,3] i J"),
    # Rearrangements.
    "transpose": (lambda p: total(p["a"].T @ p["b"]), "a[4,3] i j; b[4,5] i k"),
    "reverse": (lambda p: total(p["a"][::-1] + p["a"]), "a[4,3] I j"),
    "slice": (lambda p: total(p["a"][1:3]) - total(p["a"][3:]), "a[6,3] O+i+j k; O=1; i=2; j=3"),
    "one row": (lambda p: total(p["a"][2]) + total(p["a"]), "a[6,3] i+O+j k; i=2; O=1; j=3"),
    "columns": (lambda p: total(p["a"][::2] * p["b"]), "a[6,3] i*O k; b[3,3] i k; i=3; O=2"),
    "steps": (lambda p: total(p["a"][::4]) + total(p["a"]), "a[6,3] I k"),
    "split": (lambda p: total(jnp.multiply(*jnp.split(p["a"], 2, 1))), "a[3,4] i j+j; j=2"),
    "concatenate": (
        lambda p: total(jnp.concatenate([p["a"], p["b"]], 1) @ p["c"]),
        "a[2,3] i j; b[2,4] i k; c[7,5] j+k l",
    ),
    "pad": (
        lambda p: total(jnp.pad(p["a"], ((1, 2), (0, 0))) * p["b"]),
        "a[4,3] i j; b[7,3] O+i+q j; O=1; i=4; q=2",
    ),
    "stack": (lambda p: total(jnp.stack([p["a"], p["b"]]) * p["c"]), "a[3] i; b[3] i; c[2,3] O i"),
    "unstack": (lambda p: sum((i * total(x) for i, x in enumerate(p["a"]))), "a[4,3] I j"),
    "merge": (lambda p: total(p["a"].reshape(-1) @ p["b"]), "a[2,3] i j; b[6,4] i*j k"),
    "tile": (lambda p: total(jnp.tile(p["a"], 2) * p["b"]), "a[3] i; b[6] r*i; r=2; i=3"),
    "repeat": (lambda p: total(jnp.repeat(p["a"], 2) * p["b"]), "a[3] i; b[6] i*r; r=2; i=3"),
    "there and back": (
        lambda p: total(jnp.exp(p["a"].reshape(2, 3)).reshape(6) * p["b"]),
        "a[6] i; b[6] i",
    ),
    "table": (lambda p: total(p["a"].reshape(2, 3).max(1)) + total(p["a"]), "a[6] i*j; i=2; j=3"),
    "regroup": (
        lambda p: total(p["a"].reshape(4, 3).max(1)) + total(p["a"].reshape(3, 4).max(1)),
        "a[12] I",
    ),
    "finer": (
        lambda p: total(p["a"].reshape(2, 6).max(1)) + total(p["a"].reshape(4, 3).max(1)),
        "a[12] i*j*k; i=2; j=2; k=3",
    ),
    "rows of a table": (
        lambda p: total(p["a"].reshape(3, 4)[1] @ p["b"]),
        "a[12] R+i+S; b[4,3] i j; R=4; i=4; S=4",
    ),
    "outer product of a table": (
        lambda p: total(jnp.outer(*(p["a"].reshape(2, 3).sum(i) for i in (1, 0)))[1]),
        "a[6] I*j; I=2; j=3",
    ),
    # Masks, which are constants that may be permuted along both axes alike, or not.
    "identity": (lambda p: total(p["a"].T @ p["a"] - jnp.eye(3)), "a[4,3] i j"),
    "identity of NumPy": (lambda p: total(p["a"].T @ p["a"] - np.eye(3)), "a[4,3] i j"),
    "two identities": (
        lambda p: total(p["a"] * jnp.eye(3)) + total(p["b"] * jnp.eye(3)),
        "a[3,3] i i; b[3,3] j j",
    ),
    "all but itself": (
        lambda p: total(softmax_of_others(p["a"] @ p["a"].T) @ p["a"]),
        "a[4,3] i j",
    ),
    "one-hot positions": (
        lambda p: total(jax.nn.one_hot(jnp.arange(4), 4) @ p["a"]),
        "a[4,3] i j",
    ),
    "three axes": (lambda p: total(jnp.einsum("iii->i", p["a"])), "a[3,3,3] i i i"),
    "two pairs of axes": (
        lambda p: total(jnp.einsum("ijij->ij", p["a"])),
        "a[3,3,3,3] i j i j",
    ),
    "causal": (lambda p: total(jnp.tril(p["a"] @ p["a"].T)), "a[4,3] I j"),
    "next to the diagonal": (lambda p: total(p["a"] * jnp.eye(3, k=1)), "a[3,3] I J"),
    "blocks": (
        lambda p: total(p["a"] * (jnp.arange(4)[:, None] // 2 == jnp.arange(4) // 2)),
        "a[4,4] I J",
    ),
    "identity in a loop": (
        lambda p: total(lax.fori_loop(0, 2, lambda i, c: jnp.roll(c, 1, 0), jnp.eye(3)) * p["a"]),
        "a[3,3] I I",
    ),
    "positions in a loop": (
        lambda p: total(
            lax.scan(lambda c, x: (c[::-1], (c == jnp.arange(3)) * x), jnp.arange(3), p["a"])[1]
        ),
        "a[2,3] T I",
    ),
    # Arrays without elements.
    "empty slices": (
        lambda p: total(jnp.concatenate([p["a"][:0], p["a"], p["a"][4:]]) * p["b"]),
        "a[4,3] i j; b[4,3] i j",
    ),
    "empty part": (
        lambda p: sum(i * total(x) for i, x in enumerate(jnp.split(p["a"], (0, 2, 2)), 1)),
        "a[5,3] i+j k; i=2; j=3; k=3",
    ),
    "empty pads": (
        lambda p: total(jnp.pad(p["a"][:, :0], ((0, 0), (0, 3))) + p["a"]),
        "a[4,3] i j",
    ),
    "empty operand": (
        lambda p: total(jnp.concatenate([p["a"], p["b"]]) @ (p["a"].T @ p["a"] + 1)),
        "a[0,3] E U; b[4,3] >i <j",
    ),
    "empty updates": (
        lambda p: total(p["b"].at[np.zeros(0, int)].set(p["a"])),
        "a[0,3] E U; b[4,3] i j",
    ),
    "scan of no steps": (
        lambda p: total(lax.scan(lambda c, x: (c + x, c * x), p["b"], p["a"])[0]),
        "a[0,3] E U; b[3] i",
    ),
    # Positions.
    "look-up": (lambda p: total(p["a"][np.array([0, 2, 2])]), "a[4,3] I j"),
    "look-up along": (
        lambda p: total(jnp.take_along_axis(p["a"], np.array([[0], [1], [2], [0]]), 1)),
        "a[4,3] I J",
    ),
    "scatter": (
        lambda p: total(jnp.zeros((6, 3)).at[np.array([0, 2])].add(p["a"])) * total(p["b"]),
        "a[2,3] I j; b[3] k",
    ),
    "segment sum": (
        lambda p: total(jax.ops.segment_sum(p["a"], np.array([0, 1, 1, 0]), 2)),
        "a[4,3] I j",
    ),
    "dynamic slice": (
        lambda p: total(lax.dynamic_slice_in_dim(p["a"], jnp.int32(p["b"][0]), 2)),
        "a[4,3] I j; b[2] B",
    ),
    "dynamic update": (
        lambda p: total(lax.dynamic_update_slice(p["a"], p["b"], (1, 0))),
        "a[4,3] I j; b[2,3] K j",
    ),
    "random": (lambda p: total(p["a"] * jax.random.normal(jax.random.key(0), (3,))), "a[4,3] i J"),
    "factorization": (
        lambda p: total(jnp.linalg.cholesky(p["a"] @ p["a"].T + 9 * jnp.eye(4))),
        "a[4,3] I j",
    ),
    # Control flow.
    "scan": (
        lambda p: total(lax.scan(lambda c, x: (jnp.tanh(c @ p["a"] + x), c), p["c"], p["x"])[1]),
        "a[3,3] i i; c[3] i; x[4,3] T i",
    ),
    "carry that comes to vary": (
        lambda p: total(
            lax.scan(lambda c, x: ((c[1] + x, c[0]), None), (jnp.zeros(3), jnp.zeros(3)), p["x"])[
                0
            ][1]
            * p["b"]
        ),
        "x[4,3] T i; b[3] i",
    ),
    "while": (
        lambda p: total(
            lax.while_loop(lambda c: c.sum() < 9, lambda c: c + p["a"] ** 2 + 1, p["b"])
        ),
        "a[3] i; b[3] i",
    ),
    "loop": (
        lambda p: total(lax.fori_loop(0, 3, lambda i, c: jnp.roll(c, 1), p["a"]) * p["b"]),
        "a[3] I; b[3] I",
    ),
    "cond": (
        lambda p: total(lax.cond(p["c"] > 0, lambda: p["a"], lambda: p["b"] * 2)),
        "a[3] i; b[3] i; c[]",
    ),
    "gradient": (
        lambda p: total(jax.grad(lambda a: total(jax.nn.relu(X[:, :2] @ a) @ p["b"]))(p["a"])),
        "a[2,3] X i; b[3,4] i j",
    ),
    "remat and jit": (
        lambda p: total(jax.checkpoint(jax.jit(jnp.dot))(p["a"], p["b"])),
        "a[4,3] i j; b[3,5] j k",
    ),
    "vmap": (
        lambda p: total(jax.vmap(jnp.dot, (0, None))(p["a"], p["b"])),
        "a[4,3] i j; b[3,5] j k",
    ),
    # What is not read.
    "dead code": (lambda p: (jnp.cumsum(p["a"]), total(p["a"]))[1], "a[3] i"),
    "dead operand": (
        lambda p: total(jax.jit(lambda a, dead: (a, jnp.cumsum(dead)))(p["a"], p["b"] + p["a"])[0]),
        "a[3] i; b[3] U",
    ),
    "dead inputs of a scan": (
        lambda p: total(
            lax.scan(
                lambda c, x: ((c[0] + x[0], c[1] * x[1]), x[1]), (p["a"], p["a"]), (p["x"],) * 2
            )[0][0]
        ),
        "a[3] i; x[4,3] T i",
    ),
    "unread": (lambda p: total(p["a"]), "a[3] i; b[4] U"),
    "unread rows": (lambda p: total(p["a"][:2] * np.arange(2)[:, None]), "a[4,3] I j"),
}


@pytest.mark.parametrize("name", CASES)
def test_handler(name):
    fn, text = CASES[name]
    params, expected = params_and_spec(text)
    spec = infer_spec(fn, params)
    found = groups_alone(spec)
    assert found == groups_alone(expected), f"\n{found}\n\nshould be\n\n{expected}"
    assert check_spec(fn, params, spec)
