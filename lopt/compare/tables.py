"""The results in rows: of each task, and over all of them; the fastest stand first."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table as TerminalTable
from rich.text import Text

from lopt.base.printed import printable
from lopt.compare.results import Results
from lopt.compare.statistics import Interval, standard_error
from lopt.compare.trials import Trial

Row = tuple[str, ...]


class Table(NamedTuple):
    """A table of texts: its columns' names, and its rows."""

    header: Row
    rows: Sequence[Row]


MEANINGS = {
    "faster / level / slower": "the tasks on which the interval of its speedup over seeds lies "
    "above one, contains one, lies below one.",
    "lowest loss on": "the tasks on which it ends lowest, or is not behind the lowest on every "
    "seed; optimizers that are level share a task.",
    "profile score": "the mean height of its curve in the picture of profiles, from 1 to 4 times "
    "the steps of the fastest: 1 if it is the fastest on every task, 0 if it never comes within 4 "
    "times.",
    "failed on": "the tasks on which it could not run, or diverged at every setting.",
    "diverged": "the fraction of all its trials and seeds whose final loss is more than twice the "
    "first, or not finite.",
    "state": "what it stores beside the params; in brackets, times the reference's, as the "
    "milliseconds of a step are.",
}
"""What columns say that their names do not."""

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

_REPORT_ONLY = ("mean loss", "trials", "diverged", "ms a step", "state")
"""Columns of a task that a terminal has no room for."""


def over_all(results: Results) -> Table:
    """A row for each optimizer over all tasks; the fastest baseline is a second reference."""
    second, reference = results.fastest_baseline, results.reference
    header = (
        "optimizer",
        f"times as fast as {reference}, in steps",
        *([f"as {second}, in steps"] if second else []),
        f"as {reference}, in time",
        "faster / level / slower",
        "lowest loss on",
        "profile score",
        "failed on",
    )
    fastest_first = sorted(
        results.standings.items(), key=lambda item: -_sortable(item[1].speedup.mean)
    )
    rows = [
        (
            name,
            interval(place.speedup),
            *([interval(results.over[second][name])] if second else []),
            interval(place.in_time),
            f"{place.wins} / {place.ties} / {place.losses}",
            f"{place.best_on} of {len(results.tasks)}",
            number(place.profile),
            str(place.failed or ""),
        )
        for name, place in fastest_first
    ]
    return Table(header, rows)


def on_task(results: Results, task: str) -> Table:
    """A row for each optimizer on a task."""

    def place(name: str) -> tuple[bool, float, float]:
        best = results.best(task, name)
        loss = math.inf if best is None else best.score("final_loss")
        return best is None, -_sortable(results.on_task(task, name).mean), loss

    best = next((b for name in results.optimizers if (b := results.best(task, name))), None)
    held_out = _held_out(best)[0] if best else "held-out loss"
    header = tuple(name.format(held_out=held_out) for name in _ON_TASK)
    rows = [_row(results, task, name) for name in sorted(results.optimizers, key=place)]
    return Table(header, rows)


def standings_table(results: Results) -> TerminalTable:
    """The table over all tasks, for a terminal."""
    title = f"over {len(results.tasks)} tasks and {results.seeds} seeds, beside {results.reference}"
    return _for_terminal(title, over_all(results))


def tables(results: Results) -> RenderableType:
    """All tables, for a terminal."""
    of_tasks = [
        _for_terminal(f"{task}, {steps} steps", on_task(results, task))
        for task, steps in results.steps.items()
    ]
    return Group(*of_tasks, standings_table(results))


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


def _row(results: Results, task: str, name: str) -> Row:
    outcome, best = results.outcomes[task, name], results.best(task, name)
    if best is None:
        return (name, *[""] * (len(_ON_TASK) - 2), f"failed: {outcome.error}")
    diverged = np.concatenate([t.diverged for t in outcome.trials])
    reference = results.outcomes[task, results.reference]
    speedup, slowdown = results.on_task(task, name), results.slowdown(task, name)
    return (
        name,
        interval(speedup),
        interval(Interval(*(value / slowdown for value in speedup))),
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
        first_bad = 1 + np.argmax(~np.isfinite(best.losses).all(0))
        return f"NaN or infinite from step {first_bad} on, at every setting"
    if best.diverged.all():
        return "diverged at every setting"
    return f"best at the {at_edge} rate tried" if at_edge else ""


def _held_out(trial: Trial) -> tuple[str, str]:
    """What people look at of held-out data, and its mean: accuracy, bits, or the loss."""
    mean = {name: values.mean() for name, values in trial.metrics.items()}
    if "accuracy" in mean:
        return "held-out accuracy", f"{100 * mean['accuracy']:.1f} %"
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


def _for_terminal(title: str, table: Table) -> TerminalTable:
    shown = [i for i, name in enumerate(table.header) if name not in _REPORT_ONLY]
    # Texts, since rich takes brackets in plain strings for markup.
    drawn = TerminalTable(title=Text(printable(title)))
    for i in shown:
        drawn.add_column(Text(printable(table.header[i])))
    for row in table.rows:
        drawn.add_row(*(Text(printable(row[i])) for i in shown))
    return drawn
