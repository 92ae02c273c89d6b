"""What people read in a printed spec."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lopt.symmetry import PermutationSpec, infer_spec

KEY = jax.random.key(0)
X = np.sin(np.arange(20, dtype="float32")).reshape(4, 5)
TWO = {"w": np.ones((5, 8)), "v": np.ones((8, 3))}
Y = np.cos(np.arange(12, dtype="float32")).reshape(4, 3)


def mlp(p, x):
    return jnp.tanh(x @ p["w"]) @ p["v"]


class Field(nn.Module):
    """A function of two coordinates, as a physics-informed network is."""

    @nn.compact
    def __call__(self, x, t):
        return nn.Dense(1)(jnp.tanh(nn.Dense(8)(jnp.stack([x, t], -1))))


def of_one(params, x, y):
    return jnp.mean((Field().apply(params, x, x)[:, 0] - y) ** 2)


FIELD = Field().init(KEY, X[:, 0], X[:, 0])
READ = {"w": np.ones((5, 8)), "c": np.ones((7, 8)), "v": np.ones((8, 3))}
HEADS = {"w": np.ones((5, 8)), "policy": {"k": np.ones((8, 3))}, "value": {"k": np.ones((8, 4))}}
SQUARE = {"w": np.ones((4, 4)), "u": np.ones((4, 1)), "v": np.ones((1, 4))}

NAMES = {
    "one input": (mlp, TWO, (X,), ["input", "w", "output"]),
    "closed over": (lambda p: mlp(p, X), TWO, (), ["input", "w", "output"]),
    "targets closed over": (
        lambda p, x: jnp.sum((mlp(p, x) - Y) ** 2),
        TWO,
        (X,),
        ["input", "w", "output"],
    ),
    "several arguments": (
        lambda p, x, context: jnp.tanh(x @ p["w"] + context["text"] @ p["c"]) @ p["v"],
        READ,
        (X, {"text": np.ones((4, 7))}),
        ["x", "w", "text", "output"],
    ),
    "several outputs": (
        lambda p, x: (x @ p["w"] @ p["policy"]["k"], x @ p["w"] @ p["value"]["k"]),
        HEADS,
        (X,),
        ["input", "w", "policy output", "value output"],
    ),
    "coordinates": (
        Field().apply,
        FIELD,
        (X[:, 0], X[:, 0]),
        ["stacked input", "Dense_1", "output", "output.2"],
    ),
    "one output whose bias stays apart": (
        of_one,
        FIELD,
        (X[:, 0], X[:, 0]),
        ["stacked input", "Dense_1", "output", "output.2"],
    ),
    "coordinates put together": (
        lambda p, t, x: mlp(p, jnp.concatenate([t[:, None], x], -1)),
        TWO,
        (X[:, 0], X[:, 1:]),
        ["input", "w", "output"],
    ),
    "noise": (
        lambda p, key: mlp(p, jax.random.normal(key, (4, 5))),
        TWO,
        (KEY,),
        ["noise", "w", "output"],
    ),
    "a hidden layer of one unit": (
        lambda p, x: jnp.tanh(x @ p["w"] @ p["u"]) @ p["v"],
        SQUARE,
        (X[:, 1:],),
        ["input", "w", "u.single", "output"],
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_groups_have_names_that_say_what_they_are(name):
    fn, params, args, expected = NAMES[name]
    spec = infer_spec(fn, params, *args)
    assert list(spec.sizes) == expected
    assert PermutationSpec.from_json(spec.to_json(), like=params) == spec
