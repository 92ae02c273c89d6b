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

import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags

_WORKDIR = flags.DEFINE_string("workdir", "runs/results", "Where the runs go.")
_SEEDS = flags.DEFINE_integer("seeds", 2, "Meta-training runs of each config and rule.")
_PLOT = flags.DEFINE_string("plot", None, "Where the picture goes.")

CONFIGS = ("mlp", "cnn", "rnn", "transformer")
RULES = {"pointwise": "Deep Sets", "relational": "UNF"}
BASELINES = {"sgdm": "SGD with momentum", "adam": "Adam"}
BEFORE, AFTER = 20, 50
"""Meta-steps at the start and the end that meta-losses are means of."""


class Run(NamedTuple):
    """One meta-training run and its comparison.

    Attributes:
      history: meta-loss of each meta-step.
      learned: what the comparison says of the learned optimizer.
      baselines: and of every setting of the baselines, where they took part.
    """

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
        first = layers == next(iter(RULES)) and seed == 0
        baselines = ",".join(BASELINES) if first else ""
        compare = ("-m", "lopt.compare", f"--optimizer={optimizer}", f"--baselines={baselines}")
        python(*compare, f"--workdir={results.parent}")
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    learned, *others = json.loads(results.read_text())["optimizers"]
    return Run([json.loads(line)["meta_loss"] for line in lines], learned, others)


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


def held_out(trial: dict[str, Any]) -> str:
    """Accuracy, or bits per character where there is none, on held-out data."""
    if "test_accuracy" in trial:
        return f"{trial['test_accuracy']:.1%}"
    return f"{trial['test_bits_per_character']:.2f} bits"


def rows(config: str, runs: dict[str, list[Run]]) -> list[str]:
    """The lines of a config's table."""
    lines = []
    for layers, ours in runs.items():
        for seed, run in enumerate(ours):
            before, after = np.mean(run.history[:BEFORE]), np.mean(run.history[-AFTER:])
            t = run.learned
            losses = spread(t["mean_loss_per_seed"]), spread(t["final_loss_per_seed"])
            name = f"{RULES[layers]}, meta-seed {seed}"
            cells = (config, name, f"{before:.3f}", f"{after:.3f}", *losses, held_out(t))
            lines.append(f"| {' | '.join(cells)} |")
    trials = next(iter(runs.values()))[0].baselines
    for name, words in BASELINES.items():
        a, b = (best(trials, name, by) for by in ("mean_loss", "final_loss"))
        losses = spread(a["mean_loss_per_seed"]), spread(b["final_loss_per_seed"])
        cells = (config, words, "", "", *losses, held_out(b))
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
                label = RULES[layers] if seed == 0 else None
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
            layers: [take(config, layers, seed) for seed in range(_SEEDS.value)] for layers in RULES
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
