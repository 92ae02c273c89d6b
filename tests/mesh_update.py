"""Prints what the devices of this process exchange in an update of a GPT that lies over all.

For each layout: the sizes of what is gathered, how many collectives there are and how many are in
loops, whether state and updates lie as the params do, and how far params are from those of one
device after some steps. One mesh has an axis that the compiler
divides work over, the other one that types of arrays do.

Beside it, the losses of small models whose params say themselves over which axes they lie.
"""

import json
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lopt
from lopt.rules import RotatedRule
from lopt.rules.matrices import matrices
from lopt.tasks import transformer

STEPS = 3


def fully_sharded(name, shape):
    """Each tensor along the first axis that the devices divide evenly, as in FSDP."""
    for axis, size in enumerate(shape):
        if size % jax.device_count() == 0:
            return axis
    return None


def tensor_parallel(name, shape):
    """Heads and hidden units are divided; what is as wide as the stream is on each device."""
    divided = {
        r"Block_0/Dense_0": len(shape) - 1,
        r"Block_0/Dense_1/kernel": 0,
        r"(query|key|value)/": len(shape) - 2,
        r"out/kernel": 0,
        r"embedding": 1,
    }
    return next((axis for part, axis in divided.items() if re.search(part, name)), None)


LAYOUTS = {
    "fully sharded": (fully_sharded, AxisType.Auto),
    "tensor parallel, explicit axes": (tensor_parallel, AxisType.Explicit),
}


def shardings(layout, kind, params):
    mesh = jax.make_mesh((jax.device_count(),), ("x",), axis_types=(kind,))

    def one(path, x):
        axis = layout(jax.tree_util.keystr(path, simple=True, separator="/"), x.shape)
        return NamedSharding(mesh, P() if axis is None else P(*[None] * axis, "x"))

    return mesh, jax.tree.map_with_path(one, params)


def advance(update, params, state, grads):
    for _ in range(STEPS):
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def same(params, trees, expected):
    """Whether trees such as params, or with None for some of them, lie as expected."""
    structure = jax.tree.structure(params)
    leaves = jax.tree.leaves(params), jax.tree.leaves(expected)
    return all(
        found is None or found.is_equivalent_to(wanted, x.ndim)
        for tree in trees
        for found, x, wanted in zip(structure.flatten_up_to(tree), *leaves, strict=True)
    )


def gathers(text):
    """The sizes of all-gathers' results in a compiled program."""
    found = []
    for results in re.findall(r"= (.*?) all-gather(?:-start)?\(", text):
        shapes = [[int(n) for n in s.split(",")] for s in re.findall(r"\[([\d,]+)\]", results)]
        found += [math.prod(shape) for shape in shapes]
    return sorted(found)


def report(spec, make, params, grads, layout, kind, alone):
    mesh, where = shardings(layout, kind, params)
    with jax.set_mesh(mesh):
        optimizer = make()
        divided, their = jax.device_put((params, grads), (where, where))
        state = jax.jit(optimizer.init)(divided)
        compiled = jax.jit(optimizer.update).lower(their, state, divided).compile()
        together = advance(compiled, divided, state, their)
    text = compiled.as_text()
    exchanges = re.findall(r"= .*(?:all-|collective-permute|reduce-scatter)[a-z-]*\(.*", text)
    of_updates, of_state = compiled.output_shardings
    begun = jax.tree.map(lambda a: a.sharding, state[0].averages)
    apart = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), alone, together)
    return {
        "collectives": len(exchanges),
        "in_loops": sum("while/body" in line for line in exchanges),
        "gathered": gathers(text),
        "matrices": sorted(math.prod(m.shape) for m in matrices(spec) if m.inputs),
        "layout_stays": {
            "init": same(params, begun.values(), where),
            "state": same(params, of_state[0].averages.values(), where),
            "updates": same(params, [of_updates], where),
        },
        "apart": float(max(jax.tree.leaves(apart))),
    }


class Linen(nn.Module):
    """Two layers whose params come in boxes with the axes of a mesh that each axis lies over."""

    @nn.compact
    def __call__(self, x):
        for features, axes in ((16, (None, "x")), (8, ("x", None))):
            x = nn.Dense(
                features,
                kernel_init=nn.with_partitioning(nn.initializers.lecun_normal(), axes),
                bias_init=nn.with_partitioning(nn.initializers.zeros, axes[1:]),
            )(nn.tanh(x))
        return x


class NNX(nnx.Module):
    """The same in flax nnx, which lays params and the optimizer's state out by itself."""

    def __init__(self, rngs):
        def layer(n, m, axes):
            kernel = nnx.with_partitioning(nnx.initializers.lecun_normal(), axes)
            bias = nnx.with_partitioning(nnx.initializers.zeros_init(), axes[1:])
            return nnx.Linear(n, m, rngs=rngs, kernel_init=kernel, bias_init=bias)

        self.up, self.down = layer(8, 16, (None, "x")), layer(16, 8, ("x", None))

    def __call__(self, x):
        return self.down(nnx.tanh(self.up(nnx.tanh(x))))


def of_linen(optimizer, x):
    """Losses of params in boxes, laid out by their partition specs, and whether they stay so."""
    model = Linen()

    def loss(params):
        return jnp.mean((model.apply(params, x) - jnp.sin(x)) ** 2)

    def init(key):
        params = model.init(key, x)
        return params, optimizer.init(params)

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    mesh = jax.make_mesh((jax.device_count(),), ("x",), axis_types=(AxisType.Auto,))
    specs = nn.get_partition_spec(jax.eval_shape(init, jax.random.key(0)))
    where = jax.tree.map(lambda s: NamedSharding(mesh, s), specs)
    start = now = jax.jit(init, out_shardings=where)(jax.random.key(0))
    losses = []
    for _ in range(STEPS):
        now, value = step(*now)
        losses.append(float(value))
    pairs = zip(jax.tree.leaves(start), jax.tree.leaves(now), strict=True)
    stays = all(a.sharding.is_equivalent_to(b.sharding, a.ndim) for a, b in pairs)
    kernel = nn.unbox(now[0])["params"]["Dense_0"]["kernel"]
    return {"losses": losses, "stays": stays, "divided": not kernel.sharding.is_fully_replicated}


def of_nnx(optimizer, x):
    """Likewise by `nnx.Optimizer` under a mesh."""

    @nnx.jit
    def step(model, optimizer):
        value, grads = nnx.value_and_grad(lambda m: jnp.mean((m(x) - jnp.sin(x)) ** 2))(model)
        optimizer.update(model, grads)
        return value

    mesh = jax.make_mesh((jax.device_count(),), ("x",), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh):
        model = NNX(nnx.Rngs(0))
        before = model.up.kernel[...].sharding
        made = nnx.Optimizer(model, optimizer, wrt=nnx.Param)
        losses = [float(step(model, made)) for _ in range(STEPS)]
    kernel = model.up.kernel[...].sharding
    stays = kernel.is_equivalent_to(before, 2)
    return {"losses": losses, "stays": stays, "divided": not kernel.is_fully_replicated}


def main():
    task = transformer(width=32, depth=1, heads=8, length=16, batch_size=8)
    params, state = jax.jit(task.init)(jax.random.key(0))
    batch, key = task.batch(state, jax.random.key(1)), jax.random.key(2)
    grads = jax.jit(jax.grad(lambda p: task.loss(p, state, batch, key)[0]))(params)
    rule = RotatedRule()
    theta = rule.init(jax.random.key(0), task.spec)

    def make():
        there = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), theta)
        return rule.optimizer(there, 0.01, task.spec, total_steps=100)

    alone = advance(jax.jit(make().update), params, make().init(params), grads)
    reports = {
        name: report(task.spec, make, params, grads, *how, alone) for name, how in LAYOUTS.items()
    }
    x = jax.random.normal(jax.random.key(3), (8, 8))
    base = lopt.optimizer("base", total_steps=100)
    boxes = {"linen": of_linen(base, x), "nnx": of_nnx(base, x)}
    print(json.dumps({"devices": jax.device_count(), "reports": reports, "boxes": boxes}))


if __name__ == "__main__":
    main()
