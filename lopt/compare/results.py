"""The results of a comparison: who was how fast, on each task and over all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from lopt.compare.curves import smooth, speedup, steps_to
from lopt.compare.statistics import Interval, interquartile_mean, profile_scores
from lopt.compare.trials import Outcome, Trial

_POINTS = 100
"""Steps of a curve that are written."""


class Standing(NamedTuple):
    """How an optimizer stands over all tasks.

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
class Comparison:
    """What `compare` found.

    Attributes:
      kinds: "baseline", "control", "learned" or "own" for the name of each optimizer.
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
        outcome = self.outcomes[task, optimizer]
        return outcome.best(self.measure) if outcome.trials else None

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
        own, reference = (self.outcomes[task, name].step_ms for name in (optimizer, self.reference))
        return own / reference

    def on_task(self, task: str, optimizer: str) -> Interval:
        """The mean speedup over the seeds of one task."""
        return interquartile_mean(self.speedups(task, optimizer)[None])

    @cached_property
    def standings(self) -> dict[str, Standing]:
        """How each optimizer stands over all tasks on which the reference could run."""
        judged = self._judged
        unknown = np.full(len(self.optimizers), np.nan)
        scores = profile_scores(self.steps_needed(self.optimizers)) if judged else unknown
        winners = {task: self.winners(task) for task in judged}
        return {
            name: self._standing(name, judged, winners, float(score))
            for name, score in zip(self.optimizers, scores, strict=True)
        }

    @property
    def fastest_baseline(self) -> str:
        """The baseline beside the reference that is the fastest over all tasks; "" if none is."""
        speeds = {
            name: self.standings[name].speedup.mean
            for name, kind in self.kinds.items()
            if kind == "baseline" and name != self.reference
        }
        known = {name: speed for name, speed in speeds.items() if not np.isnan(speed)}
        return max(known, key=lambda name: known[name], default="")

    @cached_property
    def over(self) -> dict[str, dict[str, Interval]]:
        """The speedups in steps over each other baseline: by its name, then the optimizer's."""
        others = [n for n, k in self.kinds.items() if k == "baseline" and n != self.reference]
        beside = {name: replace(self, reference=name) for name in others}
        return {
            name: {other: found.over_all(other) for other in self.optimizers}
            for name, found in beside.items()
        }

    def over_all(self, optimizer: str) -> Interval:
        """The interquartile mean speedup over the tasks on which the reference could run."""
        if not self._judged:
            return Interval(float("nan"), float("nan"), float("nan"))
        scores = np.stack([self.speedups(task, optimizer) for task in self._judged])
        return interquartile_mean(scores)

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

    def _steps_needed(self, task: str, optimizer: str) -> float:
        """The median over seeds of the steps to the reference's final loss on the same seed."""
        reference, other = self.best(task, self.reference), self.best(task, optimizer)
        if other is None:
            return float("inf")
        pairs = zip(reference.curves, other.curves, strict=True)
        needed = [steps_to(b, a[-1]) if np.isfinite(b[-1]) else np.inf for a, b in pairs]
        return float(np.median(needed))

    def _standing(
        self, name: str, judged: Sequence[str], winners: Mapping[str, list[str]], score: float
    ) -> Standing:
        nothing = Interval(float("nan"), float("nan"), float("nan"))
        if not judged:
            return Standing(nothing, nothing, 0, 0, 0, 0, score, len(self.tasks))
        scores = np.stack([self.speedups(task, name) for task in judged])
        times = np.array([[self.slowdown(task, name)] for task in judged])
        each = [interquartile_mean(row[None]) for row in scores]
        outcomes = [self.outcomes[task, name] for task in self.tasks]
        return Standing(
            interquartile_mean(scores),
            interquartile_mean(scores / times),
            sum(i.mean > 1 and not i.is_tie for i in each),
            sum(i.is_tie for i in each),
            sum(i.mean < 1 and not i.is_tie for i in each),
            sum(name in winners[task] for task in judged),
            score,
            sum(bool(e.error) or all(t.diverged.all() for t in e.trials) for e in outcomes),
        )

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

    def _repr_html_(self) -> str:
        """What notebooks show: the tables and the figures."""
        from lopt.compare.html import body

        return body(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        return {
            "reference": self.reference,
            "measure": self.measure,
            "seeds": self.seeds,
            "trials": self.budget,
            "optimizers": [
                {
                    "name": name,
                    "kind": self.kinds[name],
                    "sha256": self.digests.get(name, ""),
                    **_plain(standing._asdict()),
                    "over": {other: _plain(found[name]) for other, found in self.over.items()},
                }
                for name, standing in self.standings.items()
            ],
            "tasks": [
                {
                    "name": task,
                    "steps": self.steps[task],
                    "source": self.sources[task],
                    "optimizers": [self._outcome(task, name) for name in self.optimizers],
                }
                for task in self.tasks
            ],
        }

    def _outcome(self, task: str, name: str) -> dict[str, Any]:
        outcome, best = self.outcomes[task, name], self.best(task, name)
        return {
            "name": name,
            "error": outcome.error,
            "at_edge": outcome.at_edge,
            "speedup": _plain(self.on_task(task, name)._asdict()),
            "speedup_per_seed": _plain(self.speedups(task, name)),
            "step_ms": _plain(outcome.step_ms),
            "state_bytes": outcome.state_bytes,
            "trials": [
                {
                    **t.setting._asdict(),
                    "best": t is best,
                    "mean_loss": _plain(t.mean_losses),
                    "final_loss": _plain(t.final_losses),
                    "diverged": [bool(d) for d in t.diverged],
                    **{f"held_out_{k}": _plain(v) for k, v in t.metrics.items()},
                }
                for t in outcome.trials
            ],
            "curve": _thinned(smooth(best.losses).mean(0)) if best else None,
        }


def _thinned(curve: Float[np.ndarray, " steps"]) -> dict[str, Any]:
    """Some steps of a curve, evenly spaced, its first and its last among them."""
    steps = np.unique(np.linspace(0, len(curve) - 1, _POINTS).round().astype(int))
    return {"steps": steps.tolist(), "loss": _plain(curve[steps])}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Interval):
        return _plain(value._asdict())
    if isinstance(value, int | str):
        return value
    if np.ndim(value):
        return [_plain(v) for v in value]
    return float(f"{value:.6g}") if np.isfinite(value) else None
