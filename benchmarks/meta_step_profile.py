"""Where the time of a meta-step goes, by XLA's profiler.

python benchmarks/meta_step_profile.py

The shapes are those of `meta_step.py`. One JSON line for each rule: milliseconds of one
meta-step in each part, summed over the operations that XLA attributes to it, and how many ran.
Operations that run on several threads count once for each; take one core for sums that add up to
the wall time: `taskset -c 0 python benchmarks/meta_step_profile.py`.
"""

import json
import re
from typing import Any

import jax
from absl import app
from meta_step import TASK, training
from xla_profile import Operation, profile, sums

from lopt.meta import MetaState
from lopt.rules import UNFRule

KINDS = ("pointwise", "relational", "exact")
STEPS = 3
LARGE = 2**18
"""Elements of the result of the smallest matmul that counts as large."""

PARTS = {
    "network, sums and rectifiers": r"UNF/(jit\(_call\)|add|neg|min|max|jit\(relu\))",
    "network, means": r"Layer_\d+\.summands/(jit\(_call\)|reduce_sum|div|mul)",
    "network, the rest": r"UNF/",
    "inner model": r"jvp\(|transpose\(jvp",
    "features, normalization, step": r"while/body",
}


def part(operation: Operation) -> str:
    """The part of a meta-step that an operation belongs to."""
    if re.search(r"Layer_\d+\.summands/dot_general", operation.source):
        return f"network, {'large' if operation.elements >= LARGE else 'small'} matmuls"
    places = (name for name, where in PARTS.items() if re.search(where, operation.source))
    return next(places, "outer step")


def measure(kind: str) -> dict[str, Any]:
    """The line of one kind of rule."""
    rule = UNFRule(layers=kind, widths=(32, 32, 32))
    theta = rule.init(jax.random.key(0), TASK.spec)
    meta = training(lambda theta: rule.optimizer(theta, 0.01, TASK.spec))
    state = meta.init(theta, jax.random.key(0))
    hlo = meta.lower(state).compile().as_text()

    def step() -> MetaState:
        nonlocal state
        ((state, _),) = meta.run(state, int(state.step) + 1)
        return state

    jax.block_until_ready(step())
    operations = profile(hlo, step, STEPS)
    milliseconds = {name: round(ms, 1) for name, ms in sums(operations, part).items()}
    executions = round(sum(o.executions for o in operations))
    return {"rule": kind, **milliseconds, "operations": executions}


def main(argv: list[str]) -> None:
    """Print a line for each kind of rule."""
    del argv
    for kind in KINDS:
        print(json.dumps(measure(kind)), flush=True)


if __name__ == "__main__":
    app.run(main)
