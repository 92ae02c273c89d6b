"""What trials say: the best of each optimizer, who won, and all of it as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lopt.compare.trials import Trial


@dataclass(frozen=True)
class Results:
    """The trials of a comparison.

    Attributes:
      task: what was trained, as text.
      trials: every optimizer at every setting.
    """

    task: str
    trials: Sequence[Trial]

    @property
    def names(self) -> tuple[str, ...]:
        """The optimizers, in the order of their trials."""
        return tuple(dict.fromkeys(t.name for t in self.trials))

    def of(self, name: str) -> list[Trial]:
        """All trials of an optimizer."""
        return [t for t in self.trials if t.name == name]

    def best(self, name: str, by: str = "mean_loss") -> Trial:
        """The trial of an optimizer with the lowest `mean_loss` or `final_loss`."""
        return min(self.of(name), key=lambda t: getattr(t, by))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is None."""
        seeds, steps = self.trials[0].losses.shape
        best = {name: self.best(name) for name in self.names}
        return {
            "task": self.task,
            "steps": steps,
            "seeds": seeds,
            "optimizers": [
                {
                    "name": t.name,
                    "kind": t.kind,
                    "learning_rate": t.learning_rate,
                    "schedule": t.schedule,
                    "mean_loss": _plain(t.mean_losses.mean()),
                    "mean_loss_per_seed": _plain(t.mean_losses),
                    "final_loss": _plain(t.final_losses.mean()),
                    "final_loss_per_seed": _plain(t.final_losses),
                    **{f"test_{k}": _plain(v.mean()) for k, v in t.metrics.items()},
                    "curve": _plain(t.losses.mean(0)),
                    "best": t is best[t.name],
                }
                for t in self.trials
            ],
        }

    def verdicts(self) -> list[str]:
        """Who won against each baseline, one sentence for each learned optimizer and measure."""
        kinds = {t.name: t.kind for t in self.trials}
        learned = [n for n in self.names if kinds[n] == "learned"]
        baselines = [n for n in self.names if kinds[n] == "baseline"]
        return [
            self._verdict(a, b, measure)
            for a in learned
            for b in baselines
            for measure in ("mean_loss", "final_loss")
        ]

    def _verdict(self, learned: str, baseline: str, measure: str) -> str:
        a, b = self.best(learned, measure), self.best(baseline, measure)
        x, y = getattr(a, measure), getattr(b, measure)
        winner, how = (learned, "below") if x < y else (baseline, "not below")
        lower = int((_per_seed(a, measure) < _per_seed(b, measure)).sum())
        return (
            f"{measure.replace('_', ' ')}: {winner} wins. {learned} reaches {x:.4g}, {how} "
            f"{baseline}'s best of {len(self.of(baseline))} settings, {y:.4g} "
            f"({b.learning_rate:g}, {b.schedule}); lower on {lower} of {len(a.losses)} seeds."
        )


def _per_seed(trial: Trial, measure: str) -> np.ndarray:
    return trial.mean_losses if measure == "mean_loss" else trial.final_losses


def _plain(value: Any) -> Any:
    if np.ndim(value):
        return [_plain(v) for v in value]
    return float(f"{value:.6g}") if np.isfinite(value) else None
