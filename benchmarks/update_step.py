"""The price of an update of each rule on a GPT's params, beside AdamW's and Muon's.

python benchmarks/update_step.py

Models of about 1e5, 1e6 and 1e7 params, random gradients. All optimizers run by turns in one
process, since only ratios of times carry over between machines. One JSON line for each model and
rule: medians of the milliseconds of a compiled `update`, their ratio to AdamW's and to Muon's,
bytes of state and of temporaries a parameter, seconds to compile.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
import optax.contrib
from absl import app, flags
from jaxtyping import Array, PyTree

from lopt.rules import RotatedRule, Rule, UNFRule
from lopt.symmetry import PermutationSpec
from lopt.tasks import transformer

_REPEATS = flags.DEFINE_integer("repeats", 9, "Timed updates of each; the median counts.")
_SIZES = flags.DEFINE_list("sizes", ["1e5", "1e6", "1e7"], "Which models.")
_RULES = flags.DEFINE_list("rules", None, "Which rules; all by default.")

MODELS = {
    "1e5": {"width": 48, "depth": 3, "heads": 4},
    "1e6": {"width": 128, "depth": 5, "heads": 4},
    "1e7": {"width": 320, "depth": 8, "heads": 5},
}
"""Widths and depths that give about so many params."""

RULES: Mapping[str, Rule] = {
    "rotated": RotatedRule(),
    "relational": UNFRule(layers="relational"),
    "pointwise": UNFRule(layers="pointwise"),
}


class Compiled(NamedTuple):
    """An update that is ready to be timed.

    Attributes:
      run: takes one.
      compile_s: seconds that it took to compile.
      state_bytes: of the optimizer's state.
      temp_bytes: that an update needs beside its arguments and results.
    """

    run: Callable[[], Any]
    compile_s: float
    state_bytes: int
    temp_bytes: int


def compiled(
    optimizer: optax.GradientTransformation, params: PyTree[Array], grads: PyTree[Array]
) -> Compiled:
    """Compile an update from its first state; gradients and state are donated, as in training."""
    state = jax.jit(optimizer.init)(params)
    lowered = jax.jit(optimizer.update).lower(grads, state, params)
    start = time.perf_counter()
    program = lowered.compile()
    seconds = time.perf_counter() - start
    size = sum(x.nbytes for x in jax.tree.leaves(state))
    memory = program.memory_analysis()
    return Compiled(
        lambda: jax.block_until_ready(program(grads, state, params)),
        seconds,
        size,
        memory.temp_size_in_bytes,
    )


def optimizers(spec: PermutationSpec) -> dict[str, optax.GradientTransformation]:
    """The baselines and the rules, untrained: their cost does not depend on theta."""
    found = {"adamw": optax.adamw(1e-3), "muon": optax.contrib.muon(1e-3)}
    for name in _RULES.value or RULES:
        rule = RULES[name]
        theta = rule.init(jax.random.key(0), spec)
        found[name] = rule.optimizer(theta, 1e-3, spec, total_steps=1000)
    return found


def main(argv: list[str]) -> None:
    """Print a line for each model and rule."""
    del argv
    for size in _SIZES.value:
        task = transformer(length=64, batch_size=1, **MODELS[size])
        params, _ = jax.jit(task.init)(jax.random.key(0))
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.key(1), len(leaves))
        grads = structure.unflatten(
            [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
        )
        count = sum(x.size for x in leaves)
        programs = {k: compiled(o, params, grads) for k, o in optimizers(task.spec).items()}
        times: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(_REPEATS.value + 1):
            for name, program in programs.items():
                start = time.perf_counter()
                program.run()
                times[name].append(1000 * (time.perf_counter() - start))
        ms = {name: statistics.median(values[1:]) for name, values in times.items()}
        for name in _RULES.value or RULES:
            line = {
                "rule": name,
                "params": count,
                "ms": round(ms[name], 3),
                "adamw_ms": round(ms["adamw"], 3),
                "muon_ms": round(ms["muon"], 3),
                "ratio": round(ms[name] / ms["adamw"], 2),
                "muon_ratio": round(ms[name] / ms["muon"], 2),
                "state_bytes_per_param": round(programs[name].state_bytes / count, 1),
                "temp_bytes_per_param": round(programs[name].temp_bytes / count, 1),
                "compile_s": round(programs[name].compile_s, 1),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    app.run(main)
