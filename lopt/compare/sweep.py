"""All optimizers of a comparison on one task."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import optax
from jaxtyping import Array

from lopt.base.errors import UserError
from lopt.compare.cost import StepTimer, step_times
from lopt.compare.entries import Entry
from lopt.compare.grid import Budget, coarse, tune
from lopt.compare.progress import Bar, Lines, Silence
from lopt.compare.runs import Program, Runs
from lopt.compare.store import Memory, Store, WriteError
from lopt.compare.trials import Outcome, Setting, Trial


class Prepared(NamedTuple):
    """What an optimizer is run with on a task.

    Attributes:
      program: its training runs.
      timer: of its steps; None if they are not to be timed.
    """

    program: Program
    timer: StepTimer | None


@dataclass(frozen=True, eq=False)
class Sweep:
    """All optimizers on one task, from the same starts.

    Attributes:
      name: of the task.
      runs: its training runs.
      budget: trials of each optimizer.
      measure: what the best trial is lowest in.
      time_steps: whether the time of a step is measured.
      store: where trials are kept.
      shown: what says how far it is.
    """

    name: str
    runs: Runs
    budget: Budget
    measure: str
    time_steps: bool
    store: Store | Memory
    shown: Bar | Lines | Silence

    def outcomes(self, entries: Sequence[Entry]) -> dict[str, Outcome]:
        """What each optimizer did; the next one is compiled while one trains."""
        found: dict[str, Outcome] = {}
        timers: dict[str, StepTimer] = {}
        times = self.store.times(self.name)
        names = [entry.name for entry in entries]
        timed = self.time_steps and not set(names) <= set(times)
        jax.block_until_ready(self.runs.starts.params)
        with ThreadPoolExecutor(1) as background:
            for entry, prepared in self._one_ahead(entries, timed, background):
                found[entry.name] = outcome = self._outcome(entry, prepared)
                if not outcome.error and prepared.result().timer is not None:
                    timers[entry.name] = prepared.result().timer
        if timed:
            measured = step_times(timers)
            times = {name: measured.get(name, math.nan) for name in names}
            self.store.keep_times(self.name, times)
        return {
            name: replace(outcome, step_ms=times.get(name, math.nan))
            for name, outcome in found.items()
        }

    def _one_ahead(
        self, entries: Sequence[Entry], timed: bool, background: ThreadPoolExecutor
    ) -> Iterator[tuple[Entry, "Future[Prepared]"]]:
        waiting: list[tuple[Entry, Future[Prepared]]] = []
        for entry in entries:
            prepare = background.submit(self._prepare, entry, timed)
            waiting.append((entry, prepare))
            if len(waiting) > 1:
                yield waiting.pop(0)
        yield from waiting

    def _prepare(self, entry: Entry, timed: bool) -> Prepared:
        """An entry's program and timer; compiled unless its first setting's trial is stored."""
        settings = self._first(entry)

        def make(
            learning_rate: optax.Schedule | None, weight_decay: Array | None
        ) -> optax.GradientTransformation:
            return entry.make(learning_rate, weight_decay, self.runs.task, self.runs.steps)

        program = Program(self.runs, make, settings[0], len(settings) * self.runs.seeds)
        if self.store.load(self.name, entry.name, settings[0]) is None:
            program.compile()
        return Prepared(program, StepTimer(program) if timed else None)

    def _first(self, entry: Entry) -> list[Setting]:
        if entry.search is None:
            return [Setting()]
        return coarse(entry.search, self.budget)

    def _outcome(self, entry: Entry, prepared: "Future[Prepared]") -> Outcome:
        """An entry's outcome: its trials, or the error that its optimizer raised."""
        done = 0

        def run(settings: Sequence[Setting]) -> list[Trial]:
            nonlocal done
            trials = []
            for trial in self._trials(entry.name, prepared.result().program, settings):
                trials.append(trial)
                done += 1
                self.shown.trial(self.name, entry.name)
            return trials

        try:
            if entry.search is None:
                outcome = Outcome(tuple(run([Setting()])))
            else:
                outcome = tune(entry.search, self.budget, self.measure, run)
            outcome = replace(outcome, state_bytes=prepared.result().program.state_bytes())
        except WriteError:
            raise
        except UserError as error:
            outcome = Outcome(error=_one_line(error))
        except Exception as error:
            outcome = Outcome(error=f"{type(error).__name__}: {_one_line(error)}")
        left = entry.trials(self.budget) - done
        self.shown.ended(self.name, entry.name, self._words(outcome), left)
        return outcome

    def _trials(self, name: str, program: Program, settings: Sequence[Setting]) -> Iterator[Trial]:
        """The trial of each setting, kept as soon as it is done, or found where it was kept."""
        kept = {setting: self.store.load(self.name, name, setting) for setting in settings}
        new = program([setting for setting in settings if kept[setting] is None])
        for setting in settings:
            trial = kept[setting]
            if trial is None:
                trial = next(new)
                self.store.keep(self.name, name, trial)
            yield trial

    def _words(self, outcome: Outcome) -> str:
        if outcome.error:
            return f"failed: {outcome.error}"
        best = outcome.best(self.measure)
        value = best.score(self.measure)
        return f"{self.measure.replace('_', ' ')} {value:.4g} at {best.setting}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or "no reason given"
