"""A comparison for people: a table, a page and a picture."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from rich.table import Table

from lopt.compare.results import Results
from lopt.compare.trials import FINAL_SHARE, Trial

_COLUMNS = ("optimizer", "learning rate", "schedule", "mean loss", "final loss")


def rows(results: Results) -> Iterator[tuple[str, ...]]:
    """The best trial of each optimizer by mean loss and, where it is another, by final loss."""
    for name in results.names:
        shown = (results.best(name), results.best(name, "final_loss"))
        for trial in dict.fromkeys(shown):
            yield (
                name,
                f"{trial.learning_rate:g}",
                trial.schedule,
                _with_error(trial.mean_losses),
                _with_error(trial.final_losses),
                _held_out(trial)[1],
            )


def columns(results: Results) -> tuple[str, ...]:
    """What the cells of a row are."""
    return (*_COLUMNS, _held_out(results.trials[0])[0])


def table(results: Results) -> Table:
    """The rows for a terminal."""
    shown = Table(*columns(results))
    for row in rows(results):
        shown.add_row(*row)
    return shown


def markdown(results: Results, picture: str) -> str:
    """The report as a page."""
    first = results.trials[0]
    seeds, steps = first.losses.shape
    header = columns(results)
    cells = [header, ("---",) * len(header), *rows(results)]
    counts = ", ".join(f"{name} {len(results.of(name))}" for name in results.names)
    return "\n".join(
        [
            f"# Optimizers on {results.task}",
            "",
            *(f"- {verdict}" for verdict in results.verdicts()),
            "",
            *("| " + " | ".join(row) + " |" for row in cells),
            "",
            f"Means over {seeds} seeds and their standard error; {steps} steps. Every optimizer "
            "starts from the same params and sees the same batches. The mean loss is over all "
            f"steps, the final loss over the last {FINAL_SHARE:.0%}, both on the training batches. "
            f"Of each optimizer the setting of the lowest mean loss is shown, and that of the "
            f"lowest final loss where it is another. Settings tried: {counts}.",
            "",
            f"![curves]({picture})",
            "",
        ]
    )


def plot(results: Results, path: Path) -> None:
    """Loss against step with a band over seeds, and against the learning rate."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=False)
    for i, name in enumerate(results.names):
        _plot_curve(left, results.best(name), f"C{i}")
        _plot_sweep(right, results.of(name), f"C{i}")
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    right.set(xlabel="peak learning rate", ylabel="mean loss", yscale="log", xscale="log")
    left.legend(frameon=False)
    right.legend(frameon=False, fontsize="small")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(results.task, fontsize="medium")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _plot_curve(axes: Axes, trial: Trial, color: str) -> None:
    width = max(1, trial.losses.shape[1] // 40)
    window = np.ones(width) / width
    smooth = np.stack([np.convolve(seed, window, mode="valid") for seed in trial.losses])
    steps = np.arange(smooth.shape[1]) + (width - 1) / 2
    low, high = np.quantile(smooth, (0.1, 0.9), axis=0)
    label = f"{trial.name}, {trial.learning_rate:g} {trial.schedule}"
    axes.plot(steps, smooth.mean(0), color=color, label=label)
    axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)


def _plot_sweep(axes: Axes, trials: list[Trial], color: str) -> None:
    for schedule, style in (("constant", "--"), ("cosine", "-")):
        points = [t for t in trials if t.schedule == schedule and np.isfinite(t.mean_loss)]
        if points:
            x, y = zip(*((t.learning_rate, t.mean_loss) for t in points), strict=True)
            marker = "*" if len(points) == 1 else "."
            label = f"{trials[0].name} {schedule}"
            axes.plot(x, y, style, color=color, marker=marker, label=label)


def _held_out(trial: Trial) -> tuple[str, str]:
    """What people look at of held-out data, and its mean: accuracy, bits, or the loss."""
    mean = {name: values.mean() for name, values in trial.metrics.items()}
    if "accuracy" in mean:
        return "test accuracy", f"{mean['accuracy']:.2%}".replace("%", " %")
    if "bits_per_character" in mean:
        return "test bits per character", f"{mean['bits_per_character']:.3f}"
    return "test loss", f"{mean['loss']:.4f}"


def _with_error(values: np.ndarray) -> str:
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.4f} ± {error:.4f}"
