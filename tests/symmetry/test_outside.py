"""Hidden units that only dropout or statistics of evaluation fix: a warning, and the nnx recipe."""

import re
import runpy
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from processes import ROOT

import lopt
from lopt.symmetry import FixedUnitsWarning, InferenceError, check_spec, infer_spec

X = jax.random.normal(jax.random.key(0), (4, 6, 5))
Y = jax.random.normal(jax.random.key(1), (4, 6, 3))
KEY = jax.random.key(2)


class Mlp(nn.Module):
    norm: bool = False
    dropout: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        for width in (8, 7):
            x = nn.Dense(width)(x)
            if self.norm:
                x = nn.BatchNorm(use_running_average=not train)(x)
            x = nn.Dropout(0.5, deterministic=not (train and self.dropout))(nn.relu(x))
        return nn.Dense(3)(x)


def linen(train, **kinds):
    """A loss of params, statistics and a key, and its arguments."""
    model = Mlp(**kinds)
    variables = dict(model.init(KEY, X))
    params = variables.pop("params")

    def loss(params, statistics, key):
        variables = {"params": params, **statistics}
        rngs, mutable = {"dropout": key}, ["batch_stats"]
        y, _ = model.apply(variables, X, train, rngs=rngs, mutable=mutable)
        return jnp.mean((y - Y) ** 2)

    return loss, params, variables, KEY


def warned(fn, *args):
    """What inference says of fixed units, and the groups that it finds."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        groups = infer_spec(fn, *args).groups
    return [str(w.message) for w in seen if w.category is FixedUnitsWarning], groups


def test_dropout_is_named_once_with_its_cure():
    (message,), groups = warned(*linen(train=True, norm=True, dropout=True))
    assert groups == ()
    assert re.search(r"random_bits.* Dense_0/kernel.1, Dense_1/kernel.1: .*deterministic", message)
    assert "\n" not in message


def test_statistics_of_evaluation_are_named_with_their_cure():
    (message,), groups = warned(*linen(train=False, norm=True))
    assert groups == ()
    names = "statistics/batch_stats/BatchNorm_0/mean, statistics/batch_stats/BatchNorm_0/var"
    assert names in message
    assert "use_running_average=False" in message


def test_statistics_that_are_closed_over_are_constants():
    loss, params, statistics, key = linen(train=False, norm=True)
    trained = jax.tree.map(lambda x: x + np.arange(len(x)) / 9, statistics)
    (message,), groups = warned(lambda p: loss(p, trained, key), params)
    assert groups == ()
    assert "a constant of shape (7,), a constant of shape (8,)" in message


@pytest.mark.parametrize(
    ("train", "kinds"),
    [
        (True, {"norm": True}),
        (False, {"dropout": True}),
        (False, {}),
    ],
    ids=["batch norm in training", "dropout that is off", "plain"],
)
def test_the_cures_cure(train, kinds):
    assert warned(*linen(train, **kinds)) == ([], ("Dense_0", "Dense_1"))


W = {"a": np.ones((5, 8)), "b": np.ones((8, 5)), "heads": np.ones((8, 5))}
SCALE = np.arange(1.0, 6)


def rollout(p, x):
    for _ in range(3):
        x = x + SCALE * (jnp.tanh(((x - SCALE**2) / SCALE) @ p["a"]) @ p["b"])
    return x


USUAL = {
    "noisy inputs": lambda p: (X + jax.random.normal(KEY, X.shape)) @ p["a"] @ p["b"],
    "noisy outputs": lambda p: jnp.tanh(X @ p["a"]) @ p["b"] + jax.random.normal(KEY, X.shape),
    "a residual stream of inputs": lambda p: X + jnp.tanh(X @ p["a"]) @ p["b"],
    "standardized": lambda p: jnp.tanh((X - SCALE) / SCALE**2 @ p["a"]) @ p["b"] * SCALE,
    "a rollout of scaled states": lambda p: rollout(p, X),
    "one decay for each unit": lambda p: X @ p["a"] * np.exp(-np.arange(8.0)) @ p["b"],
    "a table of positions": lambda p: (X @ p["a"] + np.sin(np.arange(48.0)).reshape(6, 8)) @ p["b"],
}


@pytest.mark.parametrize("name", USUAL)
def test_what_models_have_by_themselves_is_no_reason_to_warn(name):
    assert warned(USUAL[name], W)[0] == []


class Model(nnx.Module):
    def __init__(self, middle, rngs):
        self.up = nnx.Linear(5, 8, rngs=rngs)
        self.middle = MIDDLES[middle](rngs)
        self.down = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.down(jnp.tanh(self.middle(self.up(x))))


MIDDLES = {
    "batch norm": lambda rngs: nnx.BatchNorm(8, rngs=rngs),
    "dropout": lambda rngs: nnx.Dropout(0.5, rngs=rngs),
    "rnn": lambda rngs: nnx.RNN(nnx.GRUCell(8, 8, rngs=rngs), rngs=rngs),
    "both": lambda rngs: nnx.Sequential(
        nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs), nnx.Linear(8, 8, rngs=rngs)
    ),
    "none": lambda rngs: jnp.tanh,
}


def mean_square(model, batch):
    x, y = batch
    return jnp.mean((model(x) - y) ** 2)


@pytest.fixture
def recipe(monkeypatch):
    """The function of the example that the guide shows, and the specs that it has inferred."""
    example = runpy.run_path(str(ROOT / "examples" / "nnx_transformer.py"))["with_lopt"]
    monkeypatch.setitem(example.__globals__, "loss", mean_square)
    specs = []

    def recorded(*args):
        specs.append(infer_spec(*args))
        assert check_spec(*args[:2], specs[-1], *args[2:])
        return specs[-1]

    monkeypatch.setattr(lopt, "infer_spec", recorded)
    return example, specs


@pytest.mark.parametrize("middle", MIDDLES)
@pytest.mark.filterwarnings("error::lopt.symmetry.FixedUnitsWarning")
def test_one_recipe_does_for_every_nnx_model(middle, recipe):
    with_lopt, specs = recipe
    model = Model(middle, nnx.Rngs(0))
    with_lopt(model, (X, Y), 10)
    (spec,) = specs
    groups = {"rnn": {"up", "middle/cell"}, "both": {"up", "middle/layers/2"}}
    assert set(spec.groups) == groups.get(middle, {"up"})


def test_the_recipe_leaves_the_model_in_training(recipe):
    with_lopt, _ = recipe
    model = Model("both", nnx.Rngs(0))
    with_lopt(model, (X, Y), 10)
    assert not jnp.allclose(model(X), model(X)), "dropout is on"
    assert model.middle.layers[0].mean[...].any(), "batch statistics are kept"


def test_a_state_that_is_closed_over_is_pointed_out():
    graph, params, rest = nnx.split(Model("batch norm", nnx.Rngs(0)), nnx.Param, ...)
    with pytest.raises(InferenceError, match=r"mutate BatchStat .* argument") as e:
        infer_spec(lambda p: mean_square(nnx.merge(graph, p, rest), (X, Y)), params)
    assert "\n" not in str(e.value)
