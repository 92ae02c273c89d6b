"""The results of a comparison as data: each optimizer's speed, on each task and over all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lopt.compare.curves import speedup, steps_to
from lopt.compare.statistics import Interval, interquartile_mean, profile_scores
from lopt.compare.trials import Outcome, Trial


class Standing(NamedTuple):
    """The standing of an optimizer over all tasks.

    Attributes:
      speedup: over the reference, in steps.
      in_time: over the reference, in wall-clock time; NaN where it was not measured.
      wins: tasks on which it is faster than the reference, its interval above one.
      ties: tasks on which its interval contains one.
      losses: the other tasks.
      best_on: tasks on which no optimizer ends lower on every seed.
      profile: the score of its performance profile.
      failed: tasks on which it could not run, or every trial diverged.
    """

    speedup: Interval
    in_time: Interval
    wins: int
    ties: int
    losses: int
    best_on: int
    profile: float
    failed: int


@dataclass(frozen=True, eq=False)
class Results:
    """The outcomes of all optimizers on all tasks, and what follows from them.

    Attributes:
      kinds: "baseline", "control", "learned" or "own" (user-defined), for each optimizer's name.
      steps: of a run of each task, by the task's name.
      outcomes: what each optimizer did on each task.
      reference: the name of the optimizer that speedups refer to.
      measure: what an optimizer's best setting is lowest in.
      seeds: runs of each setting.
      budget: trials of an optimizer that is tuned.
      sources: where each task's data are from.
      digests: the SHA-256 of the files of optimizers that come from one.
    """

    kinds: Mapping[str, str]
    steps: Mapping[str, int]
    outcomes: Mapping[tuple[str, str], Outcome]
    reference: str
    measure: str
    seeds: int
    budget: int
    sources: Mapping[str, str]
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Their names, the reference first."""
        return (self.reference, *(name for name in self.kinds if name != self.reference))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.steps)

    def best(self, task: str, optimizer: str) -> Trial | None:
        """The trial at an optimizer's best setting on a task; None if it could not run."""
        return self.outcomes[task, optimizer].best(self.measure)

    def speedups(self, task: str, optimizer: str) -> Float[np.ndarray, " seeds"]:
        """In steps, of each seed; NaN if the reference could not run.

        An optimizer that could not run counts as one that diverged.
        """
        reference, other = self.best(task, self.reference), self.best(task, optimizer)
        if reference is None:
            return np.full(self.seeds, np.nan)
        if other is None:
            return np.full(self.seeds, 1 / self.steps[task])
        pairs = zip(reference.curves, other.curves, strict=True)
        return np.array([speedup(a, b) for a, b in pairs])

    def slowdown(self, task: str, optimizer: str) -> float:
        """The time of a step over that of the reference."""
        reference = self.outcomes[task, self.reference].step_ms
        return self.outcomes[task, optimizer].step_ms / reference

    def on_task(self, task: str, optimizer: str) -> Interval:
        """The mean speedup over the seeds of one task."""
        return interquartile_mean(self.speedups(task, optimizer)[None])

    def over_all(self, optimizer: str) -> Interval:
        """The interquartile mean speedup over the tasks on which the reference could run."""
        return interquartile_mean(self._scores(optimizer))

    @cached_property
    def standings(self) -> dict[str, Standing]:
        """Each optimizer's standing over the tasks on which the reference could run."""
        profiles = profile_scores(self.steps_needed(self.optimizers))
        winners = [name for task in self._judged for name in self.winners(task)]
        return {
            name: self._standing(name, winners.count(name), float(score))
            for name, score in zip(self.optimizers, profiles, strict=True)
        }

    @property
    def fastest_baseline(self) -> str:
        """The baseline beside the reference that is the fastest over all tasks; "" if none is."""
        speeds = {name: self.standings[name].speedup.mean for name in self._other_baselines}
        known = {name: speed for name, speed in speeds.items() if not np.isnan(speed)}
        return max(known, key=lambda name: known[name], default="")

    @cached_property
    def over(self) -> dict[str, dict[str, Interval]]:
        """The speedups in steps over each other baseline: by its name, then the optimizer's."""
        beside = {name: replace(self, reference=name) for name in self._other_baselines}
        return {
            name: {other: found.over_all(other) for other in self.optimizers}
            for name, found in beside.items()
        }

    def winners(self, task: str) -> list[str]:
        """The optimizer that ends lowest, and those that are not behind it on every seed."""
        finals = {
            name: best.final_losses
            for name in self.optimizers
            if (best := self.best(task, name)) is not None and np.isfinite(best.final_losses).all()
        }
        if not finals:
            return []
        lowest = finals[min(finals, key=lambda name: finals[name].mean())]
        return [name for name, losses in finals.items() if not (losses > lowest).all()]

    def steps_needed(self, optimizers: Sequence[str]) -> Float[np.ndarray, "optimizers tasks"]:
        """Steps to the reference's final loss; infinite where an optimizer does not get there."""
        return np.array([[self._steps_needed(t, o) for t in self._judged] for o in optimizers])

    @property
    def _judged(self) -> list[str]:
        """The tasks on which the reference could run."""
        return [task for task in self.tasks if self.best(task, self.reference) is not None]

    @property
    def _other_baselines(self) -> list[str]:
        return [n for n, kind in self.kinds.items() if kind == "baseline" and n != self.reference]

    def _steps_needed(self, task: str, optimizer: str) -> float:
        """The median over seeds of the steps to the reference's final loss on the same seed."""
        reference, other = self.best(task, self.reference), self.best(task, optimizer)
        if reference is None or other is None:
            return float("inf")
        pairs = zip(reference.curves, other.curves, strict=True)
        needed = [steps_to(b, a[-1]) if np.isfinite(b[-1]) else np.inf for a, b in pairs]
        return float(np.median(needed))

    def _scores(self, optimizer: str) -> Float[np.ndarray, "tasks seeds"]:
        return np.array([self.speedups(task, optimizer) for task in self._judged])

    def _standing(self, name: str, best_on: int, profile: float) -> Standing:
        each = [self.on_task(task, name) for task in self._judged]
        slowdowns = np.array([[self.slowdown(task, name)] for task in self._judged])
        return Standing(
            speedup=self.over_all(name),
            in_time=interquartile_mean(self._scores(name) / slowdowns),
            wins=sum(i.mean > 1 and not i.is_tie for i in each),
            ties=sum(i.is_tie for i in each),
            losses=sum(i.mean < 1 and not i.is_tie for i in each),
            best_on=best_on,
            profile=profile,
            failed=sum(self.outcomes[task, name].failed for task in self.tasks),
        )
