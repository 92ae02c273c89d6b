"""The pictures: learning curves, sensitivity to the rate, speedups, the performance profile."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lopt.base.printed import printable
from lopt.compare.looks import AS_IT_IS, Label, Look, ink, label_lines, looks
from lopt.compare.results import Comparison
from lopt.compare.statistics import PROFILE_END, profile
from lopt.compare.trials import Trial

_PANEL = (4.7, 3.1)
"""Inches of a task's panel, its labels included."""

_ALONE = (7.2, 4.2)
"""Those of a panel that is the only one."""

_POINTS = 400
"""Steps of a curve that are drawn."""

_FLOOR = 1e-8
"""How far below it a panel may reach."""

_CEILING = 1.3
"""How far above the highest first loss a panel ends: what diverges leaves it."""


def figures(results: Comparison) -> dict[str, Figure]:
    """All pictures by name."""
    found = {"speedups": speedups(results)}
    if len(results.tasks) > 1:
        found["profile"] = performance_profile(results)
    return found | {"curves": curves(results), "rates": rates(results)}


def curves(results: Comparison) -> Figure:
    """Smoothed training loss against the step, best setting of each, the range over seeds."""
    figure = _panels(results)
    band = min(0.15, 0.9 / len(results.optimizers))
    for task, axes in zip(results.tasks, figure.axes, strict=False):
        labels = []
        shown = [(n, look, results.best(task, n)) for n, look in _looks(results)]
        for name, look, trial in shown:
            if trial is not None:
                labels.append(_curve(axes, name, look, trial, name == results.reference, band))
        first = [t.losses[:, 0].mean() for _, _, t in shown if t is not None]
        _loss_axis(axes, axes.lines, max(first, default=1.0))
        axes.set(xlabel="step", ylabel="training loss", xlim=(0, results.steps[task]))
        label_lines(axes, labels)
    return figure


def rates(results: Comparison) -> Figure:
    """Final loss against the learning rate, in multiples of each optimizer's best."""
    figure = _panels(results)
    for task, axes in zip(results.tasks, figure.axes, strict=False):
        labels, first = [], [1.0]
        for name, look in _looks(results):
            best = results.best(task, name)
            if best is None or best.setting.learning_rate is None:
                continue
            first.append(float(best.losses[:, 0].mean()))
            labels.append(_sensitivity(axes, name, look, results.outcomes[task, name].trials, best))
        axes.set(xscale="log", xlabel="learning rate / the best of its optimizer")
        axes.set_ylabel("final loss")
        axes.axvline(1, color="#BBBBBB", linewidth=0.8, zorder=0)
        _loss_axis(axes, axes.lines[:-1], max(first[1:], default=1.0))
        label_lines(axes, labels)
    return figure


def speedups(results: Comparison) -> Figure:
    """Times as fast as the reference: in steps and in time, with intervals, and of each task."""
    places = results.standings
    names = sorted(places, key=lambda n: np.nan_to_num(places[n].speedup.mean))
    look_of = dict(_looks(results))
    figure = Figure(figsize=(7.2, 0.9 + 0.36 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    timed = False
    for y, name in enumerate(names):
        color, place = look_of[name].color, places[name]
        of_tasks = [results.on_task(task, name).mean for task in results.tasks]
        if len(of_tasks) > 1:
            style: dict[str, Any] = {"color": color, "alpha": 0.6, "markersize": 7}
            axes.plot(of_tasks, [y + 0.12] * len(of_tasks), "|", **style)
        if np.isfinite(place.speedup.low):
            ends = [place.speedup.low, place.speedup.high]
            axes.plot(ends, [y + 0.12] * 2, color=color, linewidth=2.4, solid_capstyle="round")
        axes.plot(place.speedup.mean, y + 0.12, "o", color=color, markersize=6.5)
        if np.isfinite(place.in_time.mean):
            timed = True
            if np.isfinite(place.in_time.low):
                ends = [place.in_time.low, place.in_time.high]
                axes.plot(ends, [y - 0.18] * 2, color=color, linewidth=1)
            style = {"markerfacecolor": "white", "markersize": 5.5}
            axes.plot(place.in_time.mean, y - 0.18, "o", color=color, **style)
    axes.axvline(1, color="#BBBBBB", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(names)), [*map(printable, names)], **AS_IT_IS)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_color(ink(look_of[name].color))
    words = "filled: in steps" + (", each task a tick" if len(results.tasks) > 1 else "")
    words += "; open: in wall-clock time" if timed else ""
    label = f"times as fast as {printable(results.reference)} ({words})"
    axes.set_xlabel(label, fontsize="small", **AS_IT_IS)
    axes.set(xscale="log", ylim=(-0.6, len(names) - 0.4))
    _plain_ticks(axes.xaxis, *axes.get_xlim())
    _bare(axes)
    return figure


def performance_profile(results: Comparison) -> Figure:
    """The fraction of tasks on which an optimizer needs at most so many times the least steps."""
    figure = Figure(figsize=(6.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    names = results.optimizers
    factors = np.geomspace(1, PROFILE_END, 400)
    heights = profile(results.steps_needed(names), factors)
    labels = []
    for (name, look), height in zip(_looks(results), heights, strict=True):
        style: dict[str, Any] = {"color": look.color, "linestyle": look.line, "linewidth": 1.6}
        axes.plot(factors, height, drawstyle="steps-post", **style)
        labels.append(Label(PROFILE_END, float(height[-1]), name, look.color))
    axes.set(xscale="log", xlim=(1, PROFILE_END), ylim=(-0.03, 1.03))
    label = f"steps to the final loss of {printable(results.reference)} / those of the fastest"
    axes.set_xlabel(label, **AS_IT_IS)
    axes.set_ylabel("fraction of tasks")
    _plain_ticks(axes.xaxis, 1, PROFILE_END)
    _bare(axes)
    label_lines(axes, labels)
    return figure


def _curve(
    axes: Axes, name: str, look: Look, trial: Trial, is_reference: bool, band: float
) -> Label:
    steps = trial.losses.shape[1]
    at = np.unique(np.linspace(0, steps - 1, _POINTS).astype(int))
    drawn = np.where(np.isfinite(trial.curves[:, at]), trial.curves[:, at], np.nan)
    mean = drawn.mean(0)
    width = 2.0 if is_reference else 1.4
    axes.plot(at + 1, mean, color=look.color, linestyle=look.line, linewidth=width)
    if len(drawn) > 1:
        low, high = drawn.min(0), drawn.max(0)
        axes.fill_between(at + 1, low, high, color=look.color, alpha=band, linewidth=0)
    return Label(float(steps), float(mean[-1]), name, look.color)


def _sensitivity(axes: Axes, name: str, look: Look, trials: Sequence[Trial], best: Trial) -> Label:
    of_combination = [t for t in trials if t.setting[1:] == best.setting[1:]]
    points = sorted((t.setting.learning_rate, t.score("final_loss")) for t in of_combination)
    x = np.array([rate for rate, _ in points]) / best.setting.learning_rate
    y = np.array([loss for _, loss in points])
    y = np.where(np.isfinite(y), y, np.nan)
    style: dict[str, Any] = {"color": look.color, "linestyle": look.line, "linewidth": 1.3}
    axes.plot(x, y, marker=".", markersize=5, **style)
    last = np.flatnonzero(np.isfinite(y))
    if not len(last):
        return Label(1.0, float("nan"), name, look.color)
    return Label(float(x[last[-1]]), float(y[last[-1]]), name, look.color)


def _panels(results: Comparison) -> Figure:
    """A figure with a panel for each task."""
    tasks = len(results.tasks)
    across = min(2, tasks)
    down = -(-tasks // across)
    width, height = _PANEL if tasks > 1 else _ALONE
    figure = Figure(figsize=(width * across, height * down), layout="constrained")
    for i, task in enumerate(results.tasks):
        axes = figure.add_subplot(down, across, i + 1)
        title = textwrap.fill(printable(task), int(13 * width))
        axes.set_title(title, fontsize="small", loc="left", **AS_IT_IS)
        _bare(axes)
    return figure


def _looks(results: Comparison) -> Iterator[tuple[str, Look]]:
    yield from looks(results.optimizers, results.reference).items()


def _loss_axis(axes: Axes, lines: Sequence[Any], first: float) -> None:
    """Losses on a log axis from the lowest to somewhat above those of fresh params."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in lines] or [np.ones(1)])
    values = values[np.isfinite(values)]
    high = min(values.max(initial=first * 1e-3), first * _CEILING)
    low = values[values > high * _FLOOR].min(initial=high)
    if not 0 < low < high:
        return
    axes.set_yscale("log")
    axes.set_ylim(low * (low / high) ** 0.04, high * (high / low) ** 0.04)
    _plain_ticks(axes.yaxis, low, high)


def _plain_ticks(axis: Any, low: float, high: float) -> None:
    """Label a log axis with plain numbers; the fewer decades it has, the more of them."""
    decades = np.log10(high / low)
    if decades > 2.2:
        return
    subs = (1, 2, 5) if decades > 0.7 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize="small")
