"""Inner steps per second of meta-training, beside the same inner runs under plain Adam.

python benchmarks/meta_step.py

The shapes are those of the field's comparison: an MLP 64-32-10 with batch 64, 8 antithetic pairs,
truncations of 50 steps with PES, rules over parameters of width 32 with 4 layers, and the rotated
rule. One JSON line for each rule.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import app, flags

from lopt.base.schedules import scale_over_run
from lopt.meta import PES, MetaTraining, Problem
from lopt.rules import RotatedRule, Rule, UNFRule
from lopt.tasks import mlp

_PAIRS = flags.DEFINE_integer("pairs", 8, "Antithetic pairs.")
_REPEATS = flags.DEFINE_integer("repeats", 15, "Timed meta-steps; the median counts.")

TASK = mlp(data="digits", widths=(32,), batch_size=64)
TRUNCATION = 50
RULES: dict[str, Rule] = {
    "rotated": RotatedRule(),
    **{
        layers: UNFRule(layers=layers, widths=(32, 32, 32))
        for layers in ("pointwise", "relational", "exact")
    },
}


def training(optimizer: Callable[[Any], optax.GradientTransformation]) -> MetaTraining:
    """Meta-training with PES of an optimizer that theta parametrizes."""
    estimator = PES(pairs=_PAIRS.value, truncation=TRUNCATION, horizon=10 * TRUNCATION)
    return MetaTraining([Problem(TASK, optimizer)], [estimator], optax.adam(1e-3))


def measure(training: MetaTraining, theta: Any) -> tuple[float, float, float]:
    """Inner steps per second, seconds to compile, MiB of arguments and temporaries."""
    state = training.init(theta, jax.random.key(0))
    step = training.lower(state)
    start = time.perf_counter()
    compiled = step.compile()
    compile_s = time.perf_counter() - start
    seconds = []
    for steps in range(1, _REPEATS.value + 2):
        start = time.perf_counter()
        ((state, report),) = training.run(state, steps)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - start)
    memory = compiled.memory_analysis()
    peak = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    inner_steps = int(report.inner[0].inner_steps)
    return inner_steps / statistics.median(seconds[1:]), compile_s, peak / 2**20


def main(argv: list[str]) -> None:
    """Print a line for each kind of rule."""
    del argv
    bare, _, _ = measure(training(lambda theta: optax.adam(0.01)), {"unused": jnp.zeros(())})
    for kind, rule in RULES.items():

        def optimizer(theta: Any, rule: Rule = rule) -> optax.GradientTransformation:
            return optax.chain(rule.scale_by_rule(theta, TASK.spec), scale_over_run("linear", 0.01))

        theta = rule.init(jax.random.key(0), TASK.spec)
        rate, compile_s, peak = measure(training(optimizer), theta)
        line = {
            "rule": kind,
            "task": "mlp 64-32-10",
            "inner_steps_per_s": round(rate),
            "bare_adam_inner_steps_per_s": round(bare),
            "ratio": round(bare / rate, 1),
            "compile_s": round(compile_s, 1),
            "peak_mib": round(peak, 1),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    app.run(main)
