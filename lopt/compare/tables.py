"""The results in rows: of each task, and over all of them; the fastest stand first."""

import math
from collections.abc import Iterable

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lopt.base.printed import printable
from lopt.compare.results import Comparison
from lopt.compare.statistics import Interval, standard_error
from lopt.compare.trials import Trial

Row = tuple[str, ...]

_ON_TASK = (
    "optimizer",
    "times as fast, in steps",
    "in time",
    "final loss",
    "mean loss",
    "{held_out}",
    "best setting",
    "trials",
    "diverged",
    "ms a step",
    "state",
    "note",
)


_IN_TERMINAL = (0, 1, 2, 3, 5, 6, 11)
"""Those of these columns that a terminal has room for."""


def over_all_columns(results: Comparison) -> Row:
    """The columns of the table over all tasks; the fastest baseline is a second reference."""
    second = results.fastest_baseline
    return (
        "optimizer",
        f"times as fast as {results.reference}, in steps",
        *([f"as {second}, in steps"] if second else []),
        f"as {results.reference}, in time",
        "faster / level / slower",
        "lowest loss on",
        "profile score",
        "failed on",
    )


def standings(results: Comparison) -> list[Row]:
    """A row for each optimizer over all tasks, the fastest first."""
    places, second = results.standings, results.fastest_baseline
    order = sorted(places, key=lambda name: -_sortable(places[name].speedup.mean))
    return [
        (
            name,
            interval(places[name].speedup),
            *([interval(results.over[second][name])] if second else []),
            interval(places[name].in_time),
            f"{places[name].wins} / {places[name].ties} / {places[name].losses}",
            f"{places[name].best_on} of {len(results.tasks)}",
            number(places[name].profile),
            str(places[name].failed or ""),
        )
        for name in order
    ]


def columns(results: Comparison, task: str) -> Row:
    """The columns of a task's table."""
    best = next((b for name in results.optimizers if (b := results.best(task, name))), None)
    held_out = _held_out(best)[0] if best else "held-out loss"
    return tuple(name.format(held_out=held_out) for name in _ON_TASK)


def on_task(results: Comparison, task: str) -> list[Row]:
    """A row for each optimizer on a task, the fastest first."""

    def place(name: str) -> tuple[bool, float, float]:
        best = results.best(task, name)
        loss = math.inf if best is None else best.score("final_loss")
        return best is None, -_sortable(results.on_task(task, name).mean), loss

    return [_row(results, task, name) for name in sorted(results.optimizers, key=place)]


def verdicts(results: Comparison) -> list[str]:
    """A sentence for each optimizer that is no baseline: how it stands against the reference."""
    return [
        _verdict(results, name)
        for name in results.optimizers
        if results.kinds[name] in ("learned", "own") and name != results.reference
    ]


def standings_table(results: Comparison) -> Table:
    """The table over all tasks, for a terminal."""
    title = f"over {len(results.tasks)} tasks and {results.seeds} seeds, beside {results.reference}"
    return _table(title, over_all_columns(results), standings(results))


def tables(results: Comparison) -> RenderableType:
    """All tables, for a terminal."""
    of_tasks = [
        _table(
            f"{task}, {results.steps[task]} steps",
            _narrow(columns(results, task)),
            map(_narrow, on_task(results, task)),
        )
        for task in results.tasks
    ]
    return Group(*of_tasks, standings_table(results))


def _narrow(row: Row) -> Row:
    return tuple(row[i] for i in _IN_TERMINAL)


def number(value: float) -> str:
    """Three figures, or a dash for what is not known.

    >>> number(1234.5), number(0.01234), number(float("nan")), number(float("inf"))
    ('1230', '0.0123', '–', '∞')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{float(f'{value:.3g}'):g}"


def interval(value: Interval) -> str:
    """A mean with its interval.

    >>> interval(Interval(1.5, 1.25, 2.0)), interval(Interval(1.5, float("nan"), float("nan")))
    ('1.5 [1.25, 2]', '1.5')
    """
    if math.isnan(value.low):
        return number(value.mean)
    return f"{number(value.mean)} [{number(value.low)}, {number(value.high)}]"


def _row(results: Comparison, task: str, name: str) -> Row:
    outcome, best = results.outcomes[task, name], results.best(task, name)
    if best is None:
        return (name, *[""] * (len(_ON_TASK) - 2), f"failed: {outcome.error}")
    diverged = np.concatenate([t.diverged for t in outcome.trials])
    reference = results.outcomes[task, results.reference]
    speedup, slowdown = results.on_task(task, name), results.slowdown(task, name)
    in_time = Interval(*(value / slowdown for value in speedup))
    return (
        name,
        interval(speedup),
        interval(in_time),
        _with_error(best.final_losses),
        _with_error(best.mean_losses),
        _held_out(best)[1],
        str(best.setting),
        str(len(outcome.trials)),
        f"{diverged.mean():.0%}",
        f"{number(outcome.step_ms)} (×{number(slowdown)})",
        f"{_size(outcome.state_bytes)} (×{_ratio(outcome.state_bytes, reference.state_bytes)})",
        _note(outcome.at_edge, best),
    )


def _note(at_edge: str, best: Trial) -> str:
    if not np.isfinite(best.final_losses).any():
        return f"NaN or infinite from step {_first_bad(best)} on, at every setting"
    if best.diverged.all():
        return "diverged at every setting"
    return f"best at the {at_edge} rate tried" if at_edge else ""


def _first_bad(trial: Trial) -> int:
    return int(1 + np.argmax(~np.isfinite(trial.losses).all(0)))


def _verdict(results: Comparison, name: str) -> str:
    place, tasks = results.standings[name], len(results.tasks)
    words = f"{name} is {number(place.speedup.mean)} times as fast as {results.reference} in steps"
    if not math.isnan(place.speedup.low):
        over = "interquartile mean" if tasks > 1 else "mean"
        low, high = number(place.speedup.low), number(place.speedup.high)
        words += f" ({over} of {tasks * results.seeds} runs, 95 % interval {low} to {high})"
    if not math.isnan(place.in_time.mean):
        words += f", {number(place.in_time.mean)} in time"
    if tasks > 1:
        words += f"; faster on {place.wins} of {tasks} tasks, level on {place.ties}, slower on "
        words += str(place.losses)
    words += f"; it failed on {place.failed}" if place.failed else ""
    return f"{words}{_fastest_baseline(results)}."


def _fastest_baseline(results: Comparison) -> str:
    name = results.fastest_baseline
    if not name:
        return ""
    speed = number(results.standings[name].speedup.mean)
    return f"; the fastest baseline is {name}, {speed} times as fast in steps"


def _held_out(trial: Trial) -> tuple[str, str]:
    """What people look at of held-out data, and its mean: accuracy, bits, or the loss."""
    mean = {name: values.mean() for name, values in trial.metrics.items()}
    if "accuracy" in mean:
        return "held-out accuracy", f"{mean['accuracy']:.1%}".replace("%", " %")
    if "bits_per_character" in mean:
        return "held-out bits/character", number(mean["bits_per_character"])
    return "held-out loss", number(mean["loss"])


def _with_error(values: np.ndarray) -> str:
    error = standard_error(values)
    mean = number(float(values.mean()))
    return f"{mean} ± {error:.1g}" if math.isfinite(error) else mean


def _size(size: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{number(size / unit)} {name}"
    return f"{size} B"


def _ratio(value: float, reference: float) -> str:
    return number(value / reference) if reference else "–"


def _sortable(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _table(title: str, header: Iterable[str], rows: Iterable[Row]) -> Table:
    table = Table(title=_cell(title))
    for name in header:
        table.add_column(_cell(name))
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(text: str) -> Text:
    """A text as it is: rich takes brackets in a plain one for markup."""
    return Text(printable(text))
