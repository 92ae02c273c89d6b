"""Where the time of a network over a weight space goes, in units of its floor.

taskset -c 0 python benchmarks/unf_layer_profile.py

Weight spaces, networks and floor are those of `unf_layer.py`. One JSON line for each: the time of
every part over the floor's fastest run, by XLA's profiler, which attributes time to operations. On
one core the parts add up to the run, of which `ratio` is the fastest over the floor's; what is left
of it is the start of operations.
"""

import json
import re
from typing import Any

import jax
import numpy as np
from absl import app
from unf_layer import FEATURES, alternate, problem
from xla_profile import Operation, profile, sums

RUNS = 20
SPACES = ("mlp", "cnn", "rnn", "transformer")
LAYERS = ("exact", "relational", "pointwise")
SMALL = 1000 * max(FEATURES)
"""A matmul of fewer rows than a thousand counts as small."""


def part(operation: Operation) -> str:
    """The part of a network that an operation belongs to."""
    if re.search(r"summands/dot_general", operation.source):
        return "small matmuls" if operation.elements < SMALL else "large matmuls"
    if re.search(r"summands/(jit\(_call\)/)?(reduce|div|mul)", operation.source):
        return "means"
    return "sums, rectifiers, the rest"


def measure(space: str, layer: str) -> dict[str, Any]:
    """One line."""
    p = problem(space, layer)
    network = jax.jit(p.network).lower(p.theta, p.x).compile()
    floor = jax.jit(p.floor).lower(p.kernels, p.rows).compile()
    seconds = alternate(
        [lambda: network(p.theta, p.x), lambda: floor(p.kernels, p.rows)], repeats=RUNS
    )
    run, unit = 1e3 * np.min(seconds, 0)
    operations = profile(network.as_text(), lambda: network(p.theta, p.x), RUNS)
    ratios = {name: round(ms / unit, 2) for name, ms in sums(operations, part).items()}
    whole = {"ratio": round(run / unit, 2), "operations": len(operations)}
    return {"space": space, "layer": layer, **whole, **ratios}


def main(argv: list[str]) -> None:
    """Print a line for each weight space and kind of layer."""
    del argv
    for space in SPACES:
        for layer in LAYERS:
            print(json.dumps(measure(space, layer)), flush=True)


if __name__ == "__main__":
    app.run(main)
