"""Params in trees that are no dicts of matrices."""

import jax
import jax.numpy as jnp
import numpy as np
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
