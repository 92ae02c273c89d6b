"""All optimizers of a comparison on one task after another."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import jax

from lopt.base.errors import UserError, reason_of
from lopt.compare.cost import Timer, step_timer, step_times
from lopt.compare.entries import Entry
from lopt.compare.grid import Budget, coarse, edge, finer
from lopt.compare.runs import Program, Runs
from lopt.compare.store import Store
from lopt.compare.trials import Outcome, Setting, Trial
from lopt.runs.progress import Progress

Prepared = tuple[Program, Timer | None]  # training runs, and what times steps if they are timed


class _FailureError(Exception):
    """An error that an optimizer raised, in a line; the comparison goes on without it."""


@dataclass(eq=False)
class Sweep:
    """All optimizers, each tuned on one task after another, from the same starts."""

    entries: Sequence[Entry]
    budget: Budget
    measure: str  # that the best trial is lowest in
    time_steps: bool
    store: Store | None  # None: trials are in the outcomes only
    progress: Progress  # of all trials on all tasks
    done: int = 0  # trials, those included that an optimizer that failed does not have
    _began: float = field(default_factory=time.monotonic)

    def outcomes(self, task: str, runs: Runs) -> dict[str, Outcome]:
        """The outcome of each optimizer on a task, by its name."""
        found: dict[str, Outcome] = {}
        timers: dict[str, Timer] = {}
        names = [entry.name for entry in self.entries]
        times = self.store.load_times(task) if self.store else {}
        timed = self.time_steps and not set(names) <= set(times)
        jax.block_until_ready(runs.starts.params)  # else both threads would make them
        with ThreadPoolExecutor(1) as background:
            ahead = _one_ahead(
                background.submit(self._prepare, task, runs, timed, entry) for entry in self.entries
            )
            for entry, prepared in zip(self.entries, ahead, strict=True):
                found[entry.name] = outcome = self._outcome(task, entry, prepared)
                if not outcome.error and (timer := prepared.result()[1]):
                    timers[entry.name] = timer
        if timed:
            measured = step_times(timers)
            times = {name: measured.get(name, math.nan) for name in names}
            if self.store:
                self.store.save_times(task, times)
        return {name: replace(x, step_ms=times.get(name, math.nan)) for name, x in found.items()}

    def _prepare(self, task: str, runs: Runs, timed: bool, entry: Entry) -> Prepared:
        """An optimizer's program and timer; compiled unless its first trial is stored."""
        program = Program(
            runs,
            lambda rate, decay: entry.optimizer(rate, decay, runs.task, runs.steps),
            coarse(entry.search, self.budget),
        )
        if self._stored(task, entry, program.first[0]) is None:
            program.compile()
        return program, step_timer(program) if timed else None

    def _outcome(self, task: str, entry: Entry, prepared: "Future[Prepared]") -> Outcome:
        """An optimizer's trials, or the error that it raised."""
        end = self.done + entry.trials(self.budget)
        try:
            with _failures():
                program, _ = prepared.result()
            trials = self._trials(task, entry, program, program.first)
            later = finer(self.budget, trials, self.measure)
            trials += self._trials(task, entry, program, later)
            with _failures():
                state_bytes = program.state_bytes()
            at_edge = edge(trials, self.measure)
            outcome = Outcome(tuple(trials), at_edge=at_edge, state_bytes=state_bytes)
        except _FailureError as failure:
            outcome = Outcome(error=str(failure))
            self._advance(task, entry, end - self.done)
        seconds = time.monotonic() - self._began
        words = self._words(outcome)
        self.progress.log(f"trials, {seconds:.0f} s: {task}: {entry.name}: {words}")
        return outcome

    def _trials(
        self, task: str, entry: Entry, program: Program, settings: Sequence[Setting]
    ) -> list[Trial]:
        """The trial of each setting: the stored one, or a new one that is stored at once."""
        stored = [self._stored(task, entry, setting) for setting in settings]
        new = program([s for s, trial in zip(settings, stored, strict=True) if trial is None])
        trials = []
        for trial in stored:
            if trial is None:
                with _failures():
                    trial = next(new)
                if self.store:
                    self.store.save(task, entry.name, trial)
            trials.append(trial)
            self._advance(task, entry, 1)
        return trials

    def _stored(self, task: str, entry: Entry, setting: Setting) -> Trial | None:
        return self.store.load(task, entry.name, setting) if self.store else None

    def _advance(self, task: str, entry: Entry, trials: int) -> None:
        self.done += trials
        self.progress(self.done, lambda: f"{_short(task)}: {entry.name}")

    def _words(self, outcome: Outcome) -> str:
        best = outcome.best(self.measure)
        if best is None:
            return f"failed: {outcome.error}"
        score = best.score(self.measure)
        return f"{self.measure.replace('_', ' ')} {score:.4g} at {best.setting}"


@contextmanager
def _failures() -> Iterator[None]:
    """Tell what an optimizer raises from the errors of a comparison, such as of a full disk."""
    try:
        yield
    except UserError as error:
        raise _FailureError(str(error)) from error
    except Exception as error:
        raise _FailureError(reason_of(error)) from error


def _one_ahead(futures: Iterable["Future[Prepared]"]) -> Iterator["Future[Prepared]"]:
    """Each once the next is submitted, no more: an optimizer compiles while the last one trains."""
    waiting: list[Future[Prepared]] = []
    for future in futures:
        yield from waiting
        waiting = [future]
    yield from waiting


def _short(text: str, width: int = 24) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
