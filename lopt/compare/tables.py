"""The results in rows: of each task, and over all of them; the fastest stand first."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table as TerminalTable
from rich.text import Text

from lopt.base.printed import printable
from lopt.compare.results import Results
from lopt.compare.statistics import Interval, standard_error
from lopt.compare.trials import Trial

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
"""The meaning of columns whose names do not say it."""

# Columns of a task that a terminal has no room for.
_REPORT_ONLY = ("mean loss", "trials", "diverged", "ms a step", "state")


class Table(NamedTuple):
    """The names of columns, and the texts in each row."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def over_all(results: Results) -> Table:
    """A row for each optimizer over all tasks; the fastest baseline is a second reference."""
    places, second, reference = results.standings, results.fastest_baseline, results.reference

    def cells(name: str) -> dict[str, str]:
        place = places[name]
        beside = {f"as {second}, in steps": interval(results.over[second][name])} if second else {}
        return {
            "optimizer": name,
            f"times as fast as {reference}, in steps": interval(place.speedup),
            **beside,
            f"as {reference}, in time": interval(place.in_time),
            "faster / level / slower": f"{place.wins} / {place.ties} / {place.losses}",
            "lowest loss on": f"{place.best_on} of {len(results.tasks)}",
            "profile score": number(place.profile),
            "failed on": str(place.failed or ""),
        }

    order = sorted(places, key=lambda name: -np.nan_to_num(places[name].speedup.mean, nan=-np.inf))
    return _table(map(cells, order))


def on_task(results: Results, task: str) -> Table:
    """A row for each optimizer on a task."""

    def place(name: str) -> tuple[bool, float, float]:
        best = results.best(task, name)
        loss = math.inf if best is None else best.score("final_loss")
        return best is None, -np.nan_to_num(results.on_task(task, name).mean, nan=-np.inf), loss

    order = sorted(results.optimizers, key=place)
    return _table(_on_task(results, task, name) for name in order)


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

    >>> interval(Interval(1.5, 1.25, 2.0)), interval(Interval(1.5))
    ('1.5 [1.25, 2]', '1.5')
    """
    if math.isnan(value.low):
        return number(value.mean)
    return f"{number(value.mean)} [{number(value.low)}, {number(value.high)}]"


def with_error(values: np.ndarray) -> str:
    """A mean over seeds with its standard error.

    >>> with_error(np.array([0.5, 0.7]))
    '0.6 ± 0.1'
    """
    error = standard_error(values)
    mean = number(float(values.mean()))
    return f"{mean} ± {error:.1g}" if math.isfinite(error) else mean


def _on_task(results: Results, task: str, name: str) -> dict[str, str]:
    outcome, best = results.outcomes[task, name], results.best(task, name)
    if best is None:
        return {"optimizer": name, "note": f"failed: {outcome.error}"}
    diverged = np.concatenate([t.diverged for t in outcome.trials])
    reference = results.outcomes[task, results.reference].state_bytes
    speedup, slowdown = results.on_task(task, name), results.slowdown(task, name)
    held_out, value = _held_out(best)
    times_state = number(outcome.state_bytes / reference) if reference else "–"
    return {
        "optimizer": name,
        "times as fast, in steps": interval(speedup),
        "in time": interval(Interval(*(value / slowdown for value in speedup))),
        "final loss": with_error(best.final_losses),
        "mean loss": with_error(best.mean_losses),
        held_out: value,
        "best setting": str(best.setting),
        "trials": str(len(outcome.trials)),
        "diverged": f"{diverged.mean():.0%}",
        "ms a step": f"{number(outcome.step_ms)} (×{number(slowdown)})",
        "state": f"{_size(outcome.state_bytes)} (×{times_state})",
        "note": _note(outcome.at_edge, best),
    }


def _note(at_edge: str, best: Trial) -> str:
    if not np.isfinite(best.final_losses).any():
        first_bad = 1 + np.argmax(~np.isfinite(best.losses).all(0))
        return f"NaN or infinite from step {first_bad} on, at every setting"
    if best.diverged.all():
        return "diverged at every setting"
    return f"best at the {at_edge} rate tried" if at_edge else ""


def _held_out(trial: Trial) -> tuple[str, str]:
    """The name and the mean of the usual metric on held-out data: accuracy, bits, or the loss."""
    mean = {name: values.mean() for name, values in trial.metrics.items()}
    if "accuracy" in mean:
        return "held-out accuracy", f"{100 * mean['accuracy']:.1f} %"
    if "bits_per_character" in mean:
        return "held-out bits/character", number(mean["bits_per_character"])
    return "held-out loss", number(mean["loss"])


def _size(size: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{number(size / unit)} {name}"
    return f"{size} B"


def _table(cells: Iterable[Mapping[str, str]]) -> Table:
    """The table of some rows by column; what a row does not have is empty."""
    rows = list(cells)
    longest = max(rows, key=len)
    header = tuple(longest)
    return Table(header, [tuple(row.get(name, "") for name in header) for row in rows])


def _for_terminal(title: str, table: Table) -> TerminalTable:
    def texts(cells: Sequence[str]) -> list[Text]:  # rich takes brackets in a str for markup
        pairs = zip(table.header, cells, strict=True)
        return [Text(printable(cell)) for name, cell in pairs if name not in _REPORT_ONLY]

    drawn = TerminalTable(title=Text(printable(title)))
    for name in texts(table.header):
        drawn.add_column(name)
    for row in table.rows:
        drawn.add_row(*texts(row))
    return drawn
