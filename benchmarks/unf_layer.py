"""Networks over four weight spaces, against the same widths as plain matmuls.

    python benchmarks/unf_layer.py [--spaces mlp,cnn] [--layers exact,relational] [--particles 16]

prints one JSON line for each weight space and layer: `run_ms` is a network of widths
19-32-32-32-1, `pointwise_ms` the floor, four matmuls of these widths applied to as many elements.
Both are medians of runs that alternate, so that a busy machine slows both; `ratio` is the median of
the ratios of neighbouring runs. With `--particles`, both are vmapped over as many thetas.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from weight_spaces import SPACES

from lopt.unf import UNF

CHANNELS, FEATURES = 19, (32, 32, 32, 1)


def matmuls(kernels: list[jax.Array], x: jax.Array) -> jax.Array:
    """The floor: plain matmuls with nothing between them."""
    for kernel in kernels:
        x = x @ kernel
    return x


def normals(rng: np.random.Generator, shapes: Any) -> Any:
    """Arrays of the shapes' structure, small enough for no activation to overflow."""
    draw = lambda s: jnp.asarray(0.1 * rng.standard_normal(s.shape), jnp.float32)  # noqa: E731
    return jax.tree.map(draw, shapes)


def alternate(calls: list[Callable[[], Any]], repeats: int) -> np.ndarray:
    """Seconds of each of several calls, in turns: (repeats, calls)."""
    seconds = np.empty((repeats, len(calls)))
    for i in range(-2, repeats):
        for j, call in enumerate(calls):
            start = time.perf_counter()
            jax.block_until_ready(call())
            if i >= 0:
                seconds[i, j] = time.perf_counter() - start
    return seconds


class Problem(NamedTuple):
    """A network over a weight space, the matmuls that are its floor, and what both are given."""

    network: Callable[..., Any]
    theta: Any
    x: Any
    kernels: list[jax.Array]
    rows: jax.Array
    floor: Callable[..., jax.Array]

    @property
    def params(self) -> int:
        """Elements of the weight space."""
        return self.rows.shape[-2]


def problem(space: str, layer: str, particles: int = 0) -> Problem:
    """One weight space and one kind of layer; with particles, as many thetas at a time."""
    spec, rng = SPACES[space](), np.random.default_rng(0)
    batch = (particles,) if particles else ()
    struct = lambda *shape: jax.ShapeDtypeStruct((*batch, *shape), jnp.float32)  # noqa: E731
    net = UNF(spec, FEATURES, layer)
    one = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((*spec.shape(a), CHANNELS), jnp.float32), spec.axes
    )
    shapes = jax.eval_shape(net.init, jax.random.key(0), one)
    theta = normals(rng, jax.tree.map(lambda s: struct(*s.shape), shapes))
    x = normals(rng, jax.tree.map(lambda s: struct(*s.shape), one))
    params = sum(int(np.prod(s.shape[:-1])) for s in jax.tree.leaves(one))
    kernels = [
        normals(rng, struct(i, o)) for i, o in zip((CHANNELS, *FEATURES), FEATURES, strict=False)
    ]
    rows = normals(rng, struct(params, CHANNELS))
    network, floor = (jax.vmap(f) if particles else f for f in (net.apply, matmuls))
    return Problem(network, theta, x, kernels, rows, floor)


def measure(space: str, layer: str, particles: int, repeats: int) -> dict[str, Any]:
    """The line of one weight space and one kind of layer."""
    p = problem(space, layer, particles)
    start = time.perf_counter()
    lowered = jax.jit(p.network).trace(p.theta, p.x).lower()
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    floor = jax.jit(p.floor).lower(p.kernels, p.rows).compile()
    seconds = alternate([lambda: compiled(p.theta, p.x), lambda: floor(p.kernels, p.rows)], repeats)
    run, pointwise = 1e3 * np.median(seconds, 0)
    thetas = max(particles, 1)
    return {
        "space": space,
        "layer": layer,
        "params": p.params,
        "theta": sum(t.size for t in jax.tree.leaves(p.theta)) // thetas,
        "trace_s": round(traced - start, 2),
        "compile_s": round(done - traced, 2),
        "run_ms": round(run, 2),
        "pointwise_ms": round(pointwise, 2),
        "ratio": round(float(np.median(seconds[:, 0] / seconds[:, 1])), 2),
        "temp_mib": round(compiled.memory_analysis().temp_size_in_bytes / 2**20, 1),
        "features_mib": round(thetas * p.params * max(FEATURES) * 4 / 2**20, 1),
    }


def main() -> None:
    """Print a line for each of the given weight spaces and layers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spaces", default="mlp,cnn,rnn,transformer")
    parser.add_argument("--layers", default="exact,relational,pointwise")
    parser.add_argument("--particles", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=31)
    args = parser.parse_args()
    for space in args.spaces.split(","):
        for layer in args.layers.split(","):
            line = measure(space, layer, args.particles, args.repeats)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
