"""The tables and the picture of docs/results.md: four configs, UNF and Deep Sets, several seeds.

python benchmarks/results.py --workdir=runs/results --plot=docs/results.png

Meta-trains what is not there yet, compares it with tuned baselines, and prints Markdown. What was
interrupted goes on where it was.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict

from lopt.compare import run_trials
from lopt.parts import build
from lopt.rules import RULES
from lopt.tasks import TASKS

_WORKDIR = flags.DEFINE_string("workdir", "runs/results", "Where the runs go.")
_SEEDS = flags.DEFINE_integer("seeds", 2, "Meta-training runs of each config and rule.")
_PLOT = flags.DEFINE_string("plot", None, "Where the picture goes.")

CONFIGS = ("mlp", "cnn", "rnn", "transformer")
NAMES = {"pointwise": "Deep Sets", "relational": "UNF"}
BASELINES = {"sgdm": "SGD with momentum", "adam": "Adam"}
SEEDS = 16
"""Of a comparison, as `lopt.compare` takes them unless told otherwise."""

AFTER = 50
"""Meta-steps at the end that the meta-loss after meta-training is the mean of."""


class Run(NamedTuple):
    """One meta-training run and its comparison.

    Attributes:
      before: the mean loss of whole runs of the untrained rule.
      history: meta-loss of each meta-step.
      learned: what the comparison says of the learned optimizer.
      baselines: and of every setting of the baselines, where they took part.
    """

    before: float
    history: list[float]
    learned: dict[str, Any]
    baselines: list[dict[str, Any]]


def take(config: str, layers: str, seed: int) -> Run:
    """A run, made if it is not there; the first of each config is compared with the baselines."""
    workdir = Path(_WORKDIR.value) / f"{config}-{layers}-{seed}"
    optimizer, results = workdir / "optimizer.safetensors", workdir / "report" / "results.json"
    if not optimizer.exists():
        train = ("meta_train.py", f"--config=configs/{config}.py", f"--config.rule.layers={layers}")
        python(*train, f"--config.seed={seed}", f"--workdir={workdir}")
    if not results.exists():
        first = layers == next(iter(NAMES)) and seed == 0
        baselines = ",".join(BASELINES) if first else ""
        compare = ("-m", "lopt.compare", f"--optimizer={optimizer}", f"--baselines={baselines}")
        python(*compare, f"--workdir={results.parent}")
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    learned, *others = json.loads(results.read_text())["optimizers"]
    history = [json.loads(line)["meta_loss"] for line in lines]
    return Run(untrained(workdir), history, learned, others)


def untrained(workdir: Path) -> float:
    """The mean loss of the theta that a run began with, on the seeds of the comparison."""
    settings = ConfigDict(json.loads((workdir / "config.json").read_text())["config"])
    task, rule = build(TASKS, settings.task), build(RULES, settings.rule)
    theta = rule.init(jax.random.split(jax.random.key(settings.seed))[0], task.spec)
    (trial,) = run_trials(
        task,
        "untrained",
        "learned",
        lambda learning_rate: rule.optimizer(theta, learning_rate, task.spec),
        [settings.inner.learning_rate],
        settings.inner.schedule,
        settings.estimator.horizon,
        SEEDS,
    )
    return trial.mean_loss


def python(*arguments: str) -> None:
    """Run a command of this project."""
    subprocess.run([sys.executable, *arguments], check=True)


def best(trials: list[dict[str, Any]], name: str, by: str) -> dict[str, Any]:
    """The setting of a baseline with the lowest mean or final loss."""
    return min((t for t in trials if t["name"] == name and t[by] is not None), key=lambda t: t[by])


def spread(per_seed: list[float]) -> str:
    """A mean and its standard error."""
    error = np.std(per_seed, ddof=1) / np.sqrt(len(per_seed))
    return f"{np.mean(per_seed):.4g} ± {error:.2g}"


def held_out(trials: list[dict[str, Any]]) -> str:
    """The best accuracy of some settings, or bits per character if there is none, held out."""
    if "test_accuracy" in trials[0]:
        return f"{max(t['test_accuracy'] or 0 for t in trials):.1%}"
    return f"{min(t['test_bits_per_character'] or np.inf for t in trials):.2f} bits"


def rows(config: str, runs: dict[str, list[Run]]) -> list[str]:
    """The lines of a config's table; those of a rule have one number for each meta-seed."""
    lines = []
    for layers, ours in runs.items():
        each = (
            [f"{run.before:.3f}" for run in ours],
            [f"{np.mean(run.history[-AFTER:]):.3f}" for run in ours],
            [f"{run.learned['mean_loss']:.4g}" for run in ours],
            [f"{run.learned['final_loss']:.4g}" for run in ours],
            [held_out([run.learned]) for run in ours],
        )
        cells = (config, NAMES[layers], *map(", ".join, each))
        lines.append(f"| {' | '.join(cells)} |")
    trials = next(iter(runs.values()))[0].baselines
    for name, words in BASELINES.items():
        a, b = (best(trials, name, by) for by in ("mean_loss", "final_loss"))
        losses = spread(a["mean_loss_per_seed"]), spread(b["final_loss_per_seed"])
        of_name = [t for t in trials if t["name"] == name]
        cells = (config, words, "", "", *losses, held_out(of_name))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def plot(runs: dict[str, dict[str, list[Run]]], path: str) -> None:
    """Training loss against the step, one panel for each config."""
    figure, panels = plt.subplots(1, len(runs), figsize=(3 * len(runs), 3.2), layout="constrained")
    for axes, (config, of_config) in zip(panels, runs.items(), strict=True):
        trials = next(iter(of_config.values()))[0].baselines
        curves = {words: best(trials, n, "mean_loss")["curve"] for n, words in BASELINES.items()}
        for color, (words, curve) in zip(("C7", "C1"), curves.items(), strict=True):
            axes.plot(smooth(curve), color=color, label=f"{words}, tuned")
        for color, (layers, ours) in zip(("C0", "C2"), of_config.items(), strict=True):
            for seed, run in enumerate(ours):
                label = NAMES[layers] if seed == 0 else None
                axes.plot(
                    smooth(run.learned["curve"]),
                    color=color,
                    alpha=1 - 0.4 * seed / len(ours),
                    label=label,
                )
        axes.set(title=config, xlabel="step", yscale="log")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("training loss")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    figure.savefig(path, dpi=130)


def smooth(curve: list[float], width: int = 5) -> np.ndarray:
    """A running mean."""
    return np.convolve(curve, np.ones(width) / width, mode="valid")


def main(argv: list[str]) -> None:
    """Take every run, print the table, draw the picture."""
    del argv
    runs = {
        config: {
            layers: [take(config, layers, seed) for seed in range(_SEEDS.value)] for layers in NAMES
        }
        for config in CONFIGS
    }
    print("| task | optimizer | meta-loss before | after | mean loss | final loss | held out |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(line for config in CONFIGS for line in rows(config, runs[config])))
    if _PLOT.value:
        plot(runs, _PLOT.value)


if __name__ == "__main__":
    app.run(main)
