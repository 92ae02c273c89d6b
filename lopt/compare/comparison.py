"""Comparing: every optimizer on every task, tuned with the same number of trials."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from lopt.base.checks import SIZE, TEXT, is_sequence, named, sequence
from lopt.base.errors import UserError, suggest
from lopt.base.parts import build
from lopt.compare.entries import Entry, entries, offered, several
from lopt.compare.grid import Budget
from lopt.compare.results import Results
from lopt.compare.runs import Runs
from lopt.compare.store import opened
from lopt.compare.sweep import Sweep
from lopt.compare.trials import MEASURES, Outcome
from lopt.runs.progress import Progress
from lopt.tasks import TASKS, Task

REFERENCE = "adamw"
"""The optimizer that speedups refer to, if it takes part and no other is named."""


class Comparison(Results):
    """The results of `compare`, with their tables, pictures and reports."""

    # Drawing takes nearly as long to import as JAX: only those who draw wait for it.

    def table(self) -> Any:
        """The standings as a table for terminals."""
        from lopt.compare.tables import standings_table

        return standings_table(self)

    def plot(self) -> Any:
        """The learning curves, the speedups and the rest as matplotlib figures, by name."""
        from lopt.compare.figures import figures

        return figures(self)

    def save(self, folder: str | Path) -> None:
        """Write `results.json`, `report.md` with its pictures, and `report.html` to a folder."""
        from lopt.compare.report import write

        write(self, Path(folder))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        from lopt.compare.report import as_data

        return as_data(self)

    def _repr_html_(self) -> str:
        """The tables and the figures, for notebooks."""
        from lopt.compare.html import body

        return body(self)


def compare(
    optimizers: Sequence[Any] | Mapping[str, Any],
    tasks: Sequence[Any] | Mapping[str, Any],
    *,
    steps: int | Sequence[int] = 1000,
    seeds: int = 3,
    rates: int = 7,
    schedules: Sequence[str] = ("cosine",),
    weight_decays: Sequence[float] = (),
    reference: str | None = None,
    measure: str = "final_loss",
    time_steps: bool = True,
    workdir: str | os.PathLike | None = None,
    console: Console | None = None,
) -> Comparison:
    """Train every optimizer on every task, tuned alike, from the same seeds on the same batches.

    Args:
      optimizers: one or several, as `lopt.compare.entries` takes them: names of baselines,
        files of learned optimizers, optax transformations, functions of `learning_rate`.
      tasks: one or several, each a `Task`, a text such as `"mlp(widths=(64,))"`, or
        `"module:function(argument=value)"`. In a mapping they have the names of its keys.
      steps: of a run; one number for all tasks, or one for each.
      seeds: runs of each setting.
      rates: learning rates that are tried of each schedule and weight decay.
      schedules: names in `lopt.base.schedules.SCHEDULES`; the schedule of a learned optimizer that
        takes part is added to them, so that no row has one that the others are not offered.
      weight_decays: none for the default of each optimizer.
      reference: the name of the optimizer that speedups refer to; adamw if it takes part,
        otherwise the first.
      measure: what an optimizer's best setting is lowest in: "final_loss", "mean_loss" or
        "held_out_loss".
      time_steps: whether the time of a step is measured, for speedups in wall-clock time.
      workdir: where trials are written as they come; the same call then resumes a killed one. By
        default they are in memory only. Of what is given in Python it knows the names only.
      console: where it is said how far it is; nowhere by default.

    Returns:
      The results: print its `table()`, look at its `plot()`, or let a notebook show it.

    Raises:
      UserError: for a mistake in the arguments, or a workdir of another comparison. What goes
        wrong in an optimizer itself is a row of the results that says so.

    Example:
      >>> import optax
      >>> from lopt.compare import compare
      >>> optimizers = {"sgd": optax.sgd(0.1), "slow": optax.sgd(0.05)}
      >>> found = compare(optimizers, ["quadratic"], steps=40, seeds=2, time_steps=False)
      >>> found.reference, found.standings["slow"].speedup.mean < 0.6
      ('sgd', True)
    """
    taking_part, built = entries(optimizers), build_tasks(tasks)
    length_of = dict(zip(built, lengths_of(steps, len(built)), strict=True))
    budget = Budget(rates, schedules, weight_decays)
    budget = replace(budget, schedules=offered(taking_part, budget.schedules))
    seeds = SIZE("seeds", seeds)
    measure = named("measure", MEASURES)("measure", measure)
    reference = _reference(reference, [entry.name for entry in taking_part])
    for entry in taking_part:
        _require_one_fits(entry, built.values(), length_of.values())
    plan = _plan(taking_part, length_of, seeds, budget, measure)
    trials = len(built) * sum(entry.trials(budget) for entry in taking_part)
    outcomes: dict[tuple[str, str], Outcome] = {}
    with (
        nullcontext() if workdir is None else opened(workdir, plan) as store,
        Progress(0, trials, console or Console(quiet=True), every=None) as progress,
    ):
        sweep = Sweep(taking_part, budget, measure, time_steps, store, progress)
        for name, task in built.items():
            found = sweep.outcomes(name, Runs(task, length_of[name], seeds))
            outcomes |= {(name, optimizer): outcome for optimizer, outcome in found.items()}
    return Comparison(
        kinds={entry.name: entry.kind for entry in taking_part},
        steps=length_of,
        outcomes=outcomes,
        reference=reference,
        measure=measure,
        seeds=seeds,
        budget=budget.trials,
        sources={name: task.source for name, task in built.items()},
        digests={e.name: e.identity["sha256"] for e in taking_part if "sha256" in e.identity},
    )


def build_tasks(tasks: Sequence[Any] | Mapping[str, Any]) -> dict[str, Task]:
    """Tasks, however they are given to `compare`, by name."""
    if not isinstance(tasks, Mapping):
        given, tasks = several("tasks", "task", tasks, lambda x: isinstance(x, str | Task)), {}
        for task in given:
            name = task if isinstance(task, str) else type(task).__name__
            number = 1 + sum(known.split("#")[0] == name for known in tasks)
            tasks[name if number == 1 else f"{name}#{number}"] = task
    if not tasks:
        raise UserError(f"no tasks to compare on; name some of {', '.join(TASKS)}")
    return {
        TEXT("the name of a task", name): task if isinstance(task, Task) else build(TASKS, task)
        for name, task in tasks.items()
    }


def lengths_of(steps: int | Sequence[int], tasks: int) -> list[int]:
    """The length of a run of each task."""
    if not is_sequence(steps):
        return [SIZE("steps", steps)] * tasks
    lengths = sequence(SIZE)("steps", steps)
    if len(lengths) != tasks:
        raise UserError(f"{len(lengths)} steps and {tasks} tasks; give one number, or one for each")
    return list(lengths)


def _reference(given: str | None, names: Sequence[str]) -> str:
    if given is None:
        return REFERENCE if REFERENCE in names else names[0]
    if TEXT("reference", given) not in names:
        raise UserError(f"the reference {given!r} does not take part; {suggest(given, names)}")
    return given


def _plan(
    taking_part: Sequence[Entry],
    length_of: Mapping[str, int],
    seeds: int,
    budget: Budget,
    measure: str,
) -> dict[str, Any]:
    """The config of a workdir: a comparison resumes another if they have the same."""
    return {
        "kind": "comparison",
        "tasks": length_of,
        "optimizers": {entry.name: {"kind": entry.kind, **entry.identity} for entry in taking_part},
        "seeds": seeds,
        "rates": budget.rates,
        "schedules": list(budget.schedules),
        "weight_decays": list(budget.weight_decays),
        "measure": measure,
    }


def _require_one_fits(entry: Entry, tasks: Iterable[Task], lengths: Iterable[int]) -> None:
    """Raise the `UserError` of an optimizer that can be made for none of the tasks."""
    mistakes = []
    for task, length in zip(tasks, lengths, strict=True):
        try:
            rate = None if entry.search is None else (lambda count: 0.0)
            params, _ = jax.eval_shape(task.init, jax.random.key(0))
            jax.eval_shape(entry.optimizer(rate, None, task, length).init, params)
            return
        except UserError as error:
            mistakes.append(error)
        except Exception:  # whatever else is wrong with it, its row will say
            return
    raise mistakes[0]
