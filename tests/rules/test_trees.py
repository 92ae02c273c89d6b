"""Params in trees that are no dicts of matrices."""

from typing import NamedTuple

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import PartitionSpec as P

import lopt
from lopt.rules import RotatedRule, UNFRule

RULES = {
    "relational": UNFRule(widths=(4,)),
    "exact": UNFRule(layers="exact", widths=(4,)),
    "rotated": RotatedRule(),
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


def test_state_keys_survive_being_joined_by_slashes():
    """As training loops do that write a state into one flat file of arrays."""
    params = {"dense": {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}}
    _, state = BASE.update(params, BASE.init(params), params)
    flat = flatten_dict(flax.serialization.to_state_dict(state), keep_empty_nodes=True, sep="/")
    assert "0/tensors/dense/w/moments/short" in flat
    back = flax.serialization.from_state_dict(state, unflatten_dict(flat, sep="/"))
    assert jax.tree.structure(back) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, back, state)


def in_boxes(params):
    """Params with names of axes, as `nn.with_partitioning` makes them."""
    names = {"w": ("in", "out"), "b": ("out",), "s": ()}
    return {name: nn.Partitioned(x, names=names[name]) for name, x in params.items()}


@pytest.mark.parametrize("name", RULES)
def test_partition_specs_of_the_state_fit_its_arrays(name):
    params, grads = tensors(0), tensors(1)
    axes = {"w": lopt.Axes("in", "out"), "b": lopt.Axes("out"), "s": lopt.Axes()}
    spec = lopt.PermutationSpec(axes, {"in": 3, "out": 2})
    theta = RULES[name].init(jax.random.key(0), spec)
    optimizer = RULES[name].optimizer(theta, 0.1, spec, total_steps=9)
    states, updates = [], []
    for wrap in (in_boxes, lambda tree: tree):
        state = optimizer.init(wrap(params))
        found, after = optimizer.update(wrap(grads), state, wrap(params))
        assert jax.tree.structure(after) == jax.tree.structure(state)
        assert jax.tree.structure(found) == jax.tree.structure(wrap(params))
        states.append(after)
        updates.append(nn.unbox(found))
    jax.tree.map(np.testing.assert_array_equal, *updates)
    specs = jax.tree.leaves(nn.get_partition_spec(states[0]))
    arrays = jax.tree.leaves(states[0])
    for partition, x in zip(specs, arrays, strict=True):
        assert len(partition or ()) <= x.ndim
    assert P("in", "out") in specs


@pytest.mark.parametrize("name", RULES)
def test_strict_programs_train_as_others_do(name):
    """With promotions of types and ranks that raise."""
    params, grads = tensors(0), tensors(1)
    axes = {"w": lopt.Axes("in", "out"), "b": lopt.Axes("out"), "s": lopt.Axes()}
    spec = lopt.PermutationSpec(axes, {"in": 3, "out": 2})

    def run():
        theta = RULES[name].init(jax.random.key(0), spec)
        optimizer = RULES[name].optimizer(theta, 0.1, spec, total_steps=9)
        return optimizer.update(grads, optimizer.init(params), params)[0]

    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        strict = run()
    jax.tree.map(np.testing.assert_array_equal, strict, run())


def test_strict_programs_load_and_step_base():
    params, grads = tensors(0), tensors(1)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        base = lopt.optimizer("base", total_steps=20, weight_decay=0.1)
        updates, _ = base.update(grads, base.init(params), params, total_steps=10)
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(updates))


def test_python_numbers_are_scalars():
    params, grads = {"a": 1.0, "w": jnp.ones((2, 2))}, {"a": 0.5, "w": jnp.ones((2, 2))}
    arrays = jax.tree.map(jnp.asarray, (grads, params))
    jax.tree.map(np.testing.assert_array_equal, first(grads, params), first(*arrays))
    updates, _ = BASE.update(grads, BASE.init(params), params)
    assert updates["a"] != 0


@pytest.mark.parametrize("name", RULES)
def test_the_state_is_float32_where_jax_takes_64_bits(name):
    axes = {"w": lopt.Axes("in", "out"), "b": lopt.Axes("out"), "s": lopt.Axes()}
    spec = lopt.PermutationSpec(axes, {"in": 3, "out": 2})
    theta = RULES[name].init(jax.random.key(0), spec)
    params = tensors(0)
    with jax.enable_x64(True):
        optimizer = RULES[name].optimizer(theta, 0.1, spec, total_steps=9)
        state = jax.eval_shape(optimizer.init, params)
        updates, after = jax.eval_shape(optimizer.update, params, state, params)
    assert {x.dtype.name for x in jax.tree.leaves(state)} == {"float32", "int32"}
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)
    assert {x.dtype.name for x in jax.tree.leaves(updates)} == {"float32"}
