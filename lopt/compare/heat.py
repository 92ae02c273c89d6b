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
from lopt.compare.contenders import Contender
from lopt.compare.cost import StepTimer, step_times
from lopt.compare.grid import Budget, coarse, tune
from lopt.compare.progress import Bar, Lines, Silence
from lopt.compare.runs import Program, Runs
from lopt.compare.store import Memory, Store, WriteError
from lopt.compare.trials import Entry, Setting, Trial


class Prepared(NamedTuple):
    """What an optimizer is run with on a task.

    Attributes:
      program: its training runs.
      timer: of its steps; None if they are not to be timed.
    """

    program: Program
    timer: StepTimer | None


@dataclass(frozen=True, eq=False)
class Heat:
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

    def entries(self, contenders: Sequence[Contender]) -> dict[str, Entry]:
        """What each optimizer did; the next one is compiled while one trains."""
        found: dict[str, Entry] = {}
        timers: dict[str, StepTimer] = {}
        times = self.store.times(self.name)
        names = [contender.name for contender in contenders]
        timed = self.time_steps and not set(names) <= set(times)
        jax.block_until_ready(self.runs.starts.params)
        with ThreadPoolExecutor(1) as background:
            for contender, prepared in self._one_ahead(contenders, timed, background):
                found[contender.name] = entry = self._entry(contender, prepared)
                if not entry.error and prepared.result().timer is not None:
                    timers[contender.name] = prepared.result().timer
        if timed:
            measured = step_times(timers)
            times = {name: measured.get(name, math.nan) for name in names}
            self.store.keep_times(self.name, times)
        return {
            name: replace(entry, step_ms=times.get(name, math.nan)) for name, entry in found.items()
        }

    def _one_ahead(
        self, contenders: Sequence[Contender], timed: bool, background: ThreadPoolExecutor
    ) -> Iterator[tuple[Contender, "Future[Prepared]"]]:
        waiting: list[tuple[Contender, Future[Prepared]]] = []
        for contender in contenders:
            prepare = background.submit(self._prepare, contender, timed)
            waiting.append((contender, prepare))
            if len(waiting) > 1:
                yield waiting.pop(0)
        yield from waiting

    def _prepare(self, contender: Contender, timed: bool) -> Prepared:
        """A contender's program and timer; compiled unless its first setting's trial is stored."""
        settings = self._first(contender)

        def make(
            learning_rate: optax.Schedule | None, weight_decay: Array | None
        ) -> optax.GradientTransformation:
            return contender.make(learning_rate, weight_decay, self.runs.task, self.runs.steps)

        program = Program(self.runs, make, settings[0], len(settings) * self.runs.seeds)
        if self.store.load(self.name, contender.name, settings[0]) is None:
            program.compile()
        return Prepared(program, StepTimer(program) if timed else None)

    def _first(self, contender: Contender) -> list[Setting]:
        if contender.search is None:
            return [Setting()]
        return coarse(contender.search, self.budget)

    def _entry(self, contender: Contender, prepared: "Future[Prepared]") -> Entry:
        """A contender's entry: its trials, or the error that its optimizer raised."""
        done = 0

        def run(settings: Sequence[Setting]) -> list[Trial]:
            nonlocal done
            trials = []
            for trial in self._trials(contender.name, prepared.result().program, settings):
                trials.append(trial)
                done += 1
                self.shown.trial(self.name, contender.name)
            return trials

        try:
            if contender.search is None:
                entry = Entry(tuple(run([Setting()])))
            else:
                entry = tune(contender.search, self.budget, self.measure, run)
            entry = replace(entry, state_bytes=prepared.result().program.state_bytes())
        except WriteError:
            raise
        except UserError as error:
            entry = Entry(error=_one_line(error))
        except Exception as error:
            entry = Entry(error=f"{type(error).__name__}: {_one_line(error)}")
        left = contender.trials(self.budget) - done
        self.shown.ended(self.name, contender.name, self._words(entry), left)
        return entry

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

    def _words(self, entry: Entry) -> str:
        if entry.error:
            return f"failed: {entry.error}"
        best = entry.best(self.measure)
        value = best.score(self.measure)
        return f"{self.measure.replace('_', ' ')} {value:.4g} at {best.setting}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or "no reason given"
