"""Trials: training runs of an optimizer at a setting, with their losses and held-out metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from lopt.compare.curves import smooth

DIVERGED = 2.0
"""A run diverged if its final loss is so many times its first, or no finite number."""


class Setting(NamedTuple):
    """The arguments that an optimizer is tried at.

    Rate and schedule are None and "" for an optimizer that brings its own, and the weight decay is
    None for its default.
    """

    learning_rate: float | None = None
    schedule: str = ""
    weight_decay: float | None = None

    def __str__(self) -> str:
        if self.learning_rate is None:
            return "its own"
        decay = "" if self.weight_decay is None else f", decay {self.weight_decay:g}"
        return f"{self.learning_rate:.2g} {self.schedule}{decay}"


@dataclass(frozen=True, eq=False)
class Trial:
    """One optimizer at one setting, trained from several seeds.

    Losses are on a step's own batch, before the step; metrics, `"loss"` among them, on the held-out
    split after the last step.
    """

    setting: Setting
    losses: Float[np.ndarray, "seeds steps"]
    metrics: dict[str, Float[np.ndarray, " seeds"]]

    @cached_property
    def curves(self) -> Float[np.ndarray, "seeds steps"]:
        """The smoothed losses."""
        return smooth(self.losses)

    @property
    def final_losses(self) -> Float[np.ndarray, " seeds"]:
        """The last smoothed loss of each seed; infinite if the run diverged to NaN."""
        return self.curves[:, -1]

    @property
    def mean_losses(self) -> Float[np.ndarray, " seeds"]:
        """The mean loss over each seed's run."""
        return _worst_if_not_finite(np.asarray(self.losses, np.float64).mean(1))

    @property
    def held_out_losses(self) -> Float[np.ndarray, " seeds"]:
        """The held-out loss of each seed."""
        return _worst_if_not_finite(self.metrics["loss"])

    @property
    def diverged(self) -> Bool[np.ndarray, " seeds"]:
        """Whether each seed's run diverged."""
        # Not `>`: a comparison with NaN is false, and a run with it has diverged.
        return ~(self.final_losses <= DIVERGED * self.losses[:, 0])

    def score(self, measure: str) -> float:
        """The mean over seeds of a measure in `MEASURES`; infinite if a seed's is."""
        return float(MEASURES[measure](self).mean())


MEASURES: Mapping[str, Callable[[Trial], np.ndarray]] = {
    "final_loss": lambda trial: trial.final_losses,
    "mean_loss": lambda trial: trial.mean_losses,
    "held_out_loss": lambda trial: trial.held_out_losses,
}
"""The measures that a setting can be chosen by: name -> trial -> a number for each seed."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The trials of an optimizer on a task, or a line on why there are none.

    `at_edge` is "lowest" or "highest" if the best learning rate is at that end of its grid;
    `step_ms` is NaN where it was not measured.
    """

    trials: tuple[Trial, ...] = ()
    error: str = ""
    at_edge: str = ""
    state_bytes: int = 0
    step_ms: float = float("nan")

    def best(self, measure: str) -> Trial | None:
        """The trial that is lowest in a measure; None if the optimizer could not run."""
        return min(self.trials, key=lambda t: t.score(measure), default=None)

    @property
    def failed(self) -> bool:
        """Whether the optimizer could not run, or every trial diverged."""
        return all(t.diverged.all() for t in self.trials)


def _worst_if_not_finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.inf)
