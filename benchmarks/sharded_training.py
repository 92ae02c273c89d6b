"""The losses of a GPT of 1e7 params that lies over all devices, beside those on one device.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python benchmarks/sharded_training.py

Each tensor is divided along its first axis that the devices divide evenly (as in FSDP), the batch
along its sequences. One JSON line: the losses of both, the largest difference relative to the
loss, seconds to compile and for each step, and what the devices exchange in a step.
"""

import json
import time
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from absl import app, flags
from communication import collectives
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

import lopt
from lopt.tasks import Task, transformer

_STEPS = flags.DEFINE_integer("steps", 3, "Steps of training.")
_WIDTH = flags.DEFINE_integer("width", 640, "Width of the GPT's stream.")
_DEPTH = flags.DEFINE_integer("depth", 2, "Blocks of the GPT.")


def fully_sharded(mesh: jax.sharding.Mesh, x: Array) -> NamedSharding:
    """The sharding along the first axis that the devices divide evenly."""
    axes = [i for i, size in enumerate(x.shape) if size % mesh.size == 0]
    return NamedSharding(mesh, P(*[None] * axes[0], "x") if axes else P())


def train(task: Task, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """Losses of each step, seconds, and MB that devices exchange."""
    params, state = jax.jit(task.init)(jax.random.key(0))
    layout = jax.tree.map(partial(fully_sharded, mesh), params)
    params = jax.device_put(params, layout)
    optimizer = lopt.optimizer("base", total_steps=100, spec=task.spec)
    opt_state = jax.jit(optimizer.init)(params)
    sequences = NamedSharding(mesh, P("x"))

    def step(params: Any, opt_state: Any, batch: Array) -> tuple[Any, Any, Array]:
        def loss(p: Any) -> Array:
            return task.loss(p, state, batch, jax.random.key(0))[0]

        value, grads = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    keys = jax.random.split(jax.random.key(1), _STEPS.value)
    batches = [jax.device_put(task.batch(state, key), sequences) for key in keys]
    start = time.perf_counter()
    program = jax.jit(step).lower(params, opt_state, batches[0]).compile()
    compiled = time.perf_counter()
    losses = []
    for batch in batches:
        params, opt_state, value = program(params, opt_state, batch)
        losses.append(float(value))
    exchanged = collectives(program.as_text())
    return {
        "losses": losses,
        "compile_s": round(compiled - start, 1),
        "step_s": round((time.perf_counter() - compiled) / len(batches), 2),
        "exchanged_mb": {kind: round(sum(sizes) / 1e6, 2) for kind, sizes in exchanged.items()},
        "layout_stays": jax.tree.all(
            jax.tree.map(lambda x, s: x.sharding.is_equivalent_to(s, x.ndim), params, layout)
        ),
    }


def main(argv: list[str]) -> None:
    """Print a line."""
    del argv
    task = transformer(width=_WIDTH.value, depth=_DEPTH.value, heads=8, length=32, batch_size=8)
    params, _ = jax.eval_shape(task.init, jax.random.key(0))
    devices = jax.devices()
    found = {
        n: train(task, jax.make_mesh((n,), ("x",), (AxisType.Auto,), devices=devices[:n]))
        for n in (1, len(devices))
    }
    one, all_of_them = (np.array(found[n]["losses"]) for n in found)
    line = {
        "params": sum(x.size for x in jax.tree.leaves(params)),
        "devices": len(devices),
        "difference": float(np.max(np.abs(one / all_of_them - 1))),
        "one": found[1],
        "all": found[len(devices)],
    }
    print(json.dumps(line))


if __name__ == "__main__":
    app.run(main)
