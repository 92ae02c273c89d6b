"""The pictures: learning curves, sensitivity to the rate, speedups, the performance profile."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from lopt.base.printed import printable
from lopt.compare.grid import scores_at
from lopt.compare.looks import AS_IT_IS, Label, Look, ink, label_lines, looks
from lopt.compare.results import Results
from lopt.compare.statistics import PROFILE_END, Interval, profile
from lopt.compare.trials import Trial

_PANEL = (4.7, 3.1)  # inches of a task's panel, its labels included
_ALONE = (7.2, 4.2)  # inches of a panel that is the only one
_POINTS = 400  # steps of a curve that are drawn
_FLOOR = 1e-8  # how far below its top a panel may reach: losses of a solved task have no lower end
_CEILING = 1.3  # how far above the highest first loss a panel ends: what diverges leaves it
_GUIDE: dict[str, Any] = {"color": "#BBBBBB", "linewidth": 0.8, "zorder": 0}


def figures(results: Results) -> dict[str, Figure]:
    """All pictures by name."""
    found = {"speedups": speedups(results)}
    if len(results.tasks) > 1:
        found["profile"] = performance_profile(results)
    return found | {"curves": curves(results), "rates": rates(results)}


def curves(results: Results) -> Figure:
    """Smoothed training loss against the step, best setting of each, the range over seeds."""
    figure = _panels(results)
    band = min(0.15, 0.9 / len(results.optimizers))
    for task, axes in zip(results.tasks, figure.axes, strict=False):
        best = _best(results, task)
        labels = []
        for name, (look, trial) in best.items():
            width = 2.0 if name == results.reference else 1.4
            labels.append(_curve(axes, name, look, trial, width, band))
        _loss_axis(axes, [trial for _, trial in best.values()])
        axes.set(xlabel="step", ylabel="training loss", xlim=(0, results.steps[task]))
        label_lines(axes, labels)
    return figure


def rates(results: Results) -> Figure:
    """Final loss against the learning rate, in multiples of each optimizer's best."""
    figure = _panels(results)
    for task, axes in zip(results.tasks, figure.axes, strict=False):
        labels, shown = [], []
        for name, (look, best) in _best(results, task).items():
            if best.setting.learning_rate is not None:
                trials = results.outcomes[task, name].trials
                labels.append(_sensitivity(axes, name, look, trials, best))
                shown.append(best)
        axes.set(xscale="log", xlabel="learning rate / the best of its optimizer")
        axes.set_ylabel("final loss")
        _loss_axis(axes, shown)
        axes.axvline(1, **_GUIDE)
        label_lines(axes, labels)
    return figure


def speedups(results: Results) -> Figure:
    """Times as fast as the reference: in steps and in time, with intervals, and of each task."""
    places, several = results.standings, len(results.tasks) > 1
    names = sorted(places, key=lambda n: np.nan_to_num(places[n].speedup.mean))
    look_of = _looks(results)
    figure = Figure(figsize=(7.2, 0.9 + 0.36 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for y, name in enumerate(names):
        color = look_of[name].color
        if several:
            of_tasks = [results.on_task(task, name).mean for task in results.tasks]
            style: dict[str, Any] = {"color": color, "alpha": 0.6, "markersize": 7}
            axes.plot(of_tasks, [y + 0.12] * len(of_tasks), "|", **style)
        _interval(axes, places[name].speedup, y + 0.12, color, width=2.4, markersize=6.5)
        open_ = {"markerfacecolor": "white", "markersize": 5.5}
        _interval(axes, places[name].in_time, y - 0.18, color, width=1, **open_)
    axes.axvline(1, **_GUIDE)
    axes.set_yticks(range(len(names)), [*map(printable, names)], **AS_IT_IS)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_color(ink(look_of[name].color))
    words = "filled: in steps" + (", each task a tick" if several else "")
    if any(np.isfinite(place.in_time.mean) for place in places.values()):
        words += "; open: in wall-clock time"
    label = f"times as fast as {printable(results.reference)} ({words})"
    axes.set_xlabel(label, fontsize="small", **AS_IT_IS)
    axes.set(xscale="log", ylim=(-0.6, len(names) - 0.4))
    _plain_ticks(axes.xaxis, *axes.get_xlim())
    _bare(axes)
    return figure


def performance_profile(results: Results) -> Figure:
    """The fraction of tasks on which an optimizer needs at most so many times the least steps."""
    figure = Figure(figsize=(6.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    factors = np.geomspace(1, PROFILE_END, 400)
    heights = profile(results.steps_needed(results.optimizers), factors)
    labels = []
    for (name, look), height in zip(_looks(results).items(), heights, strict=True):
        axes.plot(factors, height, drawstyle="steps-post", linewidth=1.6, **_style(look))
        labels.append(Label(PROFILE_END, float(height[-1]), name, look.color))
    axes.set(xscale="log", xlim=(1, PROFILE_END), ylim=(-0.03, 1.03))
    label = f"steps to the final loss of {printable(results.reference)} / those of the fastest"
    axes.set_xlabel(label, **AS_IT_IS)
    axes.set_ylabel("fraction of tasks")
    _plain_ticks(axes.xaxis, 1, PROFILE_END)
    _bare(axes)
    label_lines(axes, labels)
    return figure


def _curve(axes: Axes, name: str, look: Look, trial: Trial, width: float, band: float) -> Label:
    steps = trial.losses.shape[1]
    at = np.unique(np.linspace(0, steps - 1, _POINTS).astype(int))
    drawn = _finite(trial.curves[:, at])
    mean = drawn.mean(0)
    axes.plot(at + 1, mean, linewidth=width, **_style(look))
    if len(drawn) > 1:
        low, high = drawn.min(0), drawn.max(0)
        axes.fill_between(at + 1, low, high, color=look.color, alpha=band, linewidth=0)
    return Label(float(steps), float(mean[-1]), name, look.color)


def _sensitivity(axes: Axes, name: str, look: Look, trials: Sequence[Trial], best: Trial) -> Label:
    of_rate = scores_at(trials, best.setting[1:], "final_loss")
    at = np.array(sorted(of_rate))
    x, y = at / best.setting.learning_rate, _finite(np.array([of_rate[rate] for rate in at]))
    axes.plot(x, y, marker=".", markersize=5, linewidth=1.3, **_style(look))
    last = max(np.flatnonzero(np.isfinite(y)), default=0)
    return Label(float(x[last]), float(y[last]), name, look.color)


def _interval(
    axes: Axes, place: Interval, y: float, color: str, width: float, **marker: Any
) -> None:
    if np.isfinite(place.low):
        ends = [place.low, place.high]
        axes.plot(ends, [y, y], color=color, linewidth=width, solid_capstyle="round")
    if np.isfinite(place.mean):
        axes.plot(place.mean, y, "o", color=color, **marker)


def _panels(results: Results) -> Figure:
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


def _looks(results: Results) -> dict[str, Look]:
    return looks(results.optimizers, results.reference)


def _best(results: Results, task: str) -> dict[str, tuple[Look, Trial]]:
    """The look and the best trial of each optimizer that could run on a task."""
    found = {name: (look, results.best(task, name)) for name, look in _looks(results).items()}
    return {name: (look, trial) for name, (look, trial) in found.items() if trial is not None}


def _style(look: Look) -> dict[str, Any]:
    return {"color": look.color, "linestyle": look.line}


def _finite(values: np.ndarray) -> np.ndarray:
    """The values, with NaN in place of infinite ones: matplotlib leaves these out."""
    return np.where(np.isfinite(values), values, np.nan)


def _loss_axis(axes: Axes, trials: Sequence[Trial]) -> None:
    """Losses on a log axis from the lowest drawn to somewhat above those of fresh params."""
    first = max((float(trial.losses[:, 0].mean()) for trial in trials), default=1.0)
    values = np.concatenate([np.ravel(line.get_ydata()) for line in axes.lines] or [np.ones(1)])
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
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize="small")
