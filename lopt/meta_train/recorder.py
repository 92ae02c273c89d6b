"""Records every meta-step, and shows how far meta-training is."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from lopt.meta.loop import Report
from lopt.meta.validation import ValidationLoss
from lopt.runs.progress import Progress
from lopt.runs.records import Records

_RECENT = 50  # meta-steps that the meta-loss shown is the mean of


class Recorder(Records):
    """Records the report of every meta-step; a context manager."""

    def __init__(
        self,
        workdir: Path,
        problems: Sequence[str],
        done: int,
        steps: int,
        held_out: Sequence[str] = (),
    ):
        """Go on after `done` of `steps` meta-steps.

        `problems` are their names: with several, the metrics of each are recorded apart. So are
        those of `held_out`, the problems of the validation.
        """
        super().__init__(workdir, done, ["meta_loss"])
        self._progress = Progress(done, steps)
        before = self.before.items()
        # meta-losses and validation losses by step, those of an earlier part of the run included
        self.history = {step: record["meta_loss"] for step, record in before}
        self.validations = {k: r["validation_loss"] for k, r in before if "validation_loss" in r}
        self._problems, self._held_out = tuple(problems), tuple(held_out)
        self._start: float | None = None
        self._inner_steps = 0

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._progress.__exit__()
        super().__exit__(*exception)

    def recent_meta_loss(self, step: int) -> float | None:
        """The mean meta-loss of the last meta-steps up to one of them; None if all are lost."""
        steps = range(step - _RECENT + 1, step + 1)
        recent = [self.history[k] for k in steps if k in self.history]
        return float(np.mean(recent)) if recent else None

    def __call__(self, report: Report, validation: ValidationLoss | None = None) -> None:
        """Record one meta-step, and the validation loss of its theta if it was measured."""
        step, values = int(report.step), _values(report, self._problems)
        if validation is not None:
            values |= _validation_values(validation, self._held_out)
            self.validations[step] = values["validation_loss"]
        self.history[step] = values["meta_loss"]
        values["inner_steps_per_s"] = self._speed(report)
        self.write(step, values)
        self._progress(step, lambda: self._words(step, values))

    def _speed(self, report: Report) -> float:
        """Inner steps per second since the first meta-step, whose compilation does not count."""
        if self._start is None:
            self._start = time.monotonic()
        else:
            self._inner_steps += sum(int(m.inner_steps) for m in report.inner)
        return self._inner_steps / max(time.monotonic() - self._start, 1e-9)

    def _words(self, step: int, values: Mapping[str, float]) -> str:
        """The line that is shown of a meta-step, of some 75 columns for one problem."""
        words = [f"loss {self.recent_meta_loss(step):.4f}"]
        if len(self._problems) > 1:
            parts = [f"{values[f'meta_loss/{problem}']:.3g}" for problem in self._problems]
            words.append(f"({' '.join(parts)})")
        if self.validations:
            words.append(f"valid {next(reversed(self.validations.values())):.4f}")
        words.append(f"grad {values['gradient_norm']:.2g}")
        words.append(f"diverged {values['diverged']:.0%}")
        words.append(f"{values['inner_steps_per_s']:,.0f} inner steps/s")
        return " ".join(words)


def _values(report: Report, problems: Sequence[str]) -> dict[str, float]:
    names = ("meta_loss", "diverged", "restarted")
    inner = {name: [float(getattr(m, name)) for m in report.inner] for name in names}
    values = {
        "meta_loss": float(report.meta_loss),
        "gradient_norm": float(report.gradient_norm),
        "diverged": float(np.mean(inner["diverged"])),
        "restarted": float(np.mean(inner["restarted"])),
        "skipped": int(report.skipped),
    }
    for name, of_each in inner.items():
        values |= _apart(name, problems, of_each)
    return values


def _validation_values(validation: ValidationLoss, problems: Sequence[str]) -> dict[str, float]:
    parts = [float(part) for part in validation.parts]
    return {"validation_loss": float(validation.mean), **_apart("validation_loss", problems, parts)}


def _apart(name: str, problems: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """The values by metric and problem, such as `loss/mlp`; empty if there is one problem."""
    pairs = zip(problems, values, strict=True)
    return {f"{name}/{problem}": v for problem, v in pairs} if len(problems) > 1 else {}
