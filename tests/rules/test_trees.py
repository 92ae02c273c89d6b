"""Params in trees that are no dicts of matrices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lopt
from lopt.rules import GatesRule, UNFRule

RULES = {
    "relational": UNFRule(widths=(4,)),
    "exact": UNFRule(layers="exact", widths=(4,)),
    "gates": GatesRule(),
}


class Model(nnx.Module):
    def __init__(self, rngs):
        self.up = nnx.Linear(3, 8, rngs=rngs)
        self.down = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x):
        return self.down(nnx.relu(self.up(x)))


def loss(model, x):
    return jnp.mean((model(x) - jnp.sin(x[:, :2])) ** 2)


@pytest.mark.parametrize("name", RULES)
def test_an_nnx_optimizer_trains_with_an_inferred_spec(name):
    """It hands variables to `init`, and bare arrays to `update`."""
    rule = RULES[name]
    model, x = Model(nnx.Rngs(0)), jax.random.normal(jax.random.key(0), (16, 3))
    graph, params = nnx.split(model)
    spec = lopt.infer_spec(lambda p, x: loss(nnx.merge(graph, p), x), params, x)
    assert spec.groups == ("up",)
    transformation = rule.optimizer(rule.init(jax.random.key(1), spec), 0.01, spec, total_steps=9)
    optimizer = nnx.Optimizer(model, transformation, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x):
        value, grads = nnx.value_and_grad(loss)(model, x)
        optimizer.update(model, grads)
        return value

    losses = [step(model, optimizer, x) for _ in range(9)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", RULES)
def test_tensors_without_elements_change_nothing(name, space):
    params = {"model": space.params, "empty": jnp.zeros((0, 3))}
    grads = {"model": space.random(1), "empty": jnp.zeros((0, 3))}
    axes = {"model": space.spec.axes, "empty": lopt.Axes("none", "three")}
    sizes = {**space.spec.sizes, "none": 0, "three": 3}
    spec = lopt.PermutationSpec(axes, sizes, space.spec.fixed)
    theta = RULES[name].init(jax.random.key(1), space.spec)

    def step(spec, params, grads):
        optimizer = RULES[name].optimizer(theta, 0.1, spec, total_steps=9)
        return jax.jit(lambda p, g: optimizer.update(g, optimizer.init(p), p)[0])(params, grads)

    plain = step(space.spec, params["model"], grads["model"])
    updates = step(spec, params, grads)
    assert updates["empty"].shape == (0, 3)
    jax.tree.map(np.testing.assert_array_equal, updates["model"], plain)


BASE = lopt.optimizer("base", 0.1, total_steps=20)


class Pair(NamedTuple):
    one: object
    other: object


def tensors(seed):
    """A matrix, a vector and a scalar."""
    shapes = {"w": (3, 2), "b": (2,), "s": ()}
    keys = jax.random.split(jax.random.key(seed), 3)
    return {n: jax.random.normal(k, s) for k, (n, s) in zip(keys, shapes.items(), strict=True)}


@jax.jit
def first(grads, params):
    return BASE.update(grads, BASE.init(params), params)[0]


def test_lists_tuples_and_scalars_change_nothing():
    """But for whether a matrix and its bias are side by side."""

    def nested(tree):
        return [{"deeper": (tree["s"], None)}, Pair(tree["w"], tree["b"]), {}, ()]

    params, grads = tensors(0), tensors(1)
    updates = first(nested(grads), nested(params))
    expected = nested(first(grads, params))
    assert jax.tree.structure(updates) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected)


@pytest.mark.parametrize("nothing", [{}, (), [None, {}]])
def test_a_tree_without_tensors_stays_one(nothing):
    updates, _ = BASE.update(nothing, BASE.init(nothing), nothing)
    assert updates == nothing


def test_tensors_may_be_of_different_types():
    types = {"w": jnp.bfloat16, "b": jnp.float16, "s": jnp.float32}
    params, grads = ({n: x.astype(types[n]) for n, x in tensors(i).items()} for i in (0, 1))
    updates = first(grads, params)
    assert {n: u.dtype for n, u in updates.items()} == types
    exact = first(*jax.tree.map(lambda x: x.astype(jnp.float32), (grads, params)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0.01), updates, exact)
    state = jax.eval_shape(BASE.init, params)
    averages = jax.tree.leaves(optax.tree.get(state, "averages"))
    assert {a.dtype for a in averages} == {jnp.dtype("float32")}


def test_shapes_are_enough_for_init():
    shapes = jax.eval_shape(lambda: tensors(0))
    jax.tree.map(np.testing.assert_array_equal, BASE.init(shapes), BASE.init(tensors(0)))
