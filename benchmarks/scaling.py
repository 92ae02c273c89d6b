"""Inner steps per second over devices and over particles, and what devices exchange.

    python benchmarks/scaling.py [--repeats 7] [--plot docs/scaling.png]

prints one JSON line for each number of forced host devices (particles held at 64), for each number
of particles (on one device), and for the collectives in the compiled meta-step of each estimator on
eight devices. `ratio` is to the first line of its kind. Each line is measured in a process of its
own, since a process cannot change how many devices its host pretends to have; the rounds go
through all of them, so that a busy machine slows all alike, and medians are taken over rounds.

The task and the rule are those of `configs/quickstart.py`, with truncations of 10 steps.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from communication import communication

from lopt.meta import ES, NRES, PES, TBPTT, Estimator, MetaState, MetaTraining, Problem
from lopt.meta.particles import particle_mesh
from lopt.rules import UNFRule
from lopt.tasks import Task, mlp

DEVICES = (1, 2, 4, 8)
PARTICLES = (4, 16, 64, 256)
FIXED = 64
TRUNCATION = 10
ESTIMATORS = (ES(8, 2), PES(8, 2, 8), NRES(8, 2, 8), TBPTT(8, 2, 8))


Rule = Callable[[Any], optax.GradientTransformation]


def begin(
    task: Task, rule: Rule, theta: Any, estimator: Estimator
) -> tuple[MetaTraining, MetaState]:
    """Meta-training over all devices of this process, before its first meta-step."""
    problem = Problem(task, rule, mesh=particle_mesh(2 * estimator.pairs))
    training = MetaTraining([problem], [estimator], optax.adam(1e-3))
    return training, training.init(theta, jax.random.key(0))


def speed(particles: int, steps: int = 5) -> float:
    """Inner steps per second, the median of some meta-steps."""
    estimator = PES(pairs=particles // 2, truncation=TRUNCATION, horizon=20 * TRUNCATION)
    task = mlp(data="digits", widths=(32,), batch_size=64)
    rule = UNFRule(layers="relational", widths=(16,))
    theta = rule.init(jax.random.key(1), task.spec)
    training, state = begin(task, lambda t: rule.optimizer(t, 0.02, task.spec), theta, estimator)
    seconds = []
    for step in range(steps + 2):
        start = time.perf_counter()
        ((state, report),) = training.run(state, step + 1)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - start)
    return int(report.inner[0].inner_steps) / statistics.median(seconds[2:])


def exchanged() -> list[dict[str, Any]]:
    """A line for each estimator: what the devices of this process exchange in a meta-step.

    Theta is 1,000 numbers whose mean is a learning rate: only its size should matter.
    """
    task, theta, lines = mlp(widths=(4,), batch_size=8), jnp.full(1000, 0.1), []
    for estimator in ESTIMATORS:
        training, state = begin(task, lambda t: optax.adam(t.mean()), theta, estimator)
        found = communication(training, state)._asdict()
        name, devices = type(estimator).__name__, jax.device_count()
        lines.append({"estimator": name, "devices": devices, **found})
    return lines


def elsewhere(devices: int, cache: str, *arguments: str) -> Any:
    """The output of this program with these arguments on a number of forced host devices."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": cache,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    command = [sys.executable, __file__, *arguments]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def curves(repeats: int, cache: str) -> list[dict[str, Any]]:
    """A line for each number of devices, and for each number of particles."""
    points = [(devices, FIXED) for devices in DEVICES] + [(1, n) for n in PARTICLES]
    rates = {point: [] for point in points}
    for _ in range(repeats):
        for devices, particles in rates:
            rate = elsewhere(devices, cache, f"--particles={particles}")
            rates[devices, particles].append(rate)

    def line(over: str, point: tuple[int, int], first: tuple[int, int]) -> dict[str, Any]:
        rate = statistics.median(rates[point])
        return {
            "over": over,
            "devices": point[0],
            "particles": point[1],
            "inner_steps_per_s": round(rate),
            "lowest": round(min(rates[point])),
            "highest": round(max(rates[point])),
            "ratio": round(rate / statistics.median(rates[first]), 2),
        }

    lines = [line("devices", (n, FIXED), (1, FIXED)) for n in DEVICES]
    return lines + [line("particles", (1, n), (1, PARTICLES[0])) for n in PARTICLES]


def plot(lines: list[dict[str, Any]], path: str) -> None:
    """Both curves, with the range over rounds and the line of proportional growth."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
    titles = {
        "devices": f"{FIXED} particles over forced host devices\nthat share two cores",
        "particles": "particles on one device\nof two cores",
    }
    for axes, (over, title) in zip(panels, titles.items(), strict=True):
        points = [line for line in lines if line["over"] == over]
        x = [point[over] for point in points]
        y = [point["inner_steps_per_s"] for point in points]
        low = [point["lowest"] for point in points]
        high = [point["highest"] for point in points]
        axes.vlines(x, low, high, color="C0", alpha=0.4, label="lowest to highest")
        axes.plot(x, y, "o-", color="C0", markersize=4, label="median of rounds")
        if over == "particles":
            axes.plot(x, [y[0] * n / x[0] for n in x], ":", color="gray", label="in proportion")
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, [str(n) for n in x])
        axes.set_ylim(0, 1.25 * max(line["highest"] for line in lines))
        axes.set(title=title, xlabel=over)
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    panels[0].set_ylabel("inner steps/s")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Print the lines, or measure the one point that a parent process asks for."""
    parser = argparse.ArgumentParser(description="Scaling over devices and particles.")
    parser.add_argument("--repeats", type=int, default=7, help="rounds; the median counts")
    parser.add_argument("--plot", help="where the picture goes")
    parser.add_argument("--particles", type=int, help="measure this number here, and nothing else")
    parser.add_argument("--communication", action="store_true", help="list collectives here only")
    options = parser.parse_args()
    if options.particles:
        print(json.dumps(speed(options.particles)))
        return
    if options.communication:
        print(json.dumps(exchanged()))
        return
    with tempfile.TemporaryDirectory() as cache:
        lines = curves(options.repeats, cache)
        for line in [*lines, *elsewhere(8, cache, "--communication")]:
            print(json.dumps(line), flush=True)
    if options.plot:
        plot(lines, options.plot)


if __name__ == "__main__":
    main()
