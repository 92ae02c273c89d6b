"""What a run records while it goes: metrics.jsonl, TensorBoard events, and how far it is."""

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lopt.base.atomic import replacing, write_atomically
from lopt.base.digested import is_number, read_digested, with_digest
from lopt.meta.loop import Report
from lopt.meta.validation import ValidationLoss
from lopt.runs.progress import Progress
from lopt.runs.tensorboard import Events

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RECENT = 50
"""Meta-steps that the meta-loss shown is the mean of."""

_log = logging.getLogger(__name__)


class Recorder:
    """Records the report of every meta-step; a context manager.

    Attributes:
      history: step -> meta-loss, those of an earlier part of the run included.
      validations: step -> validation loss, of each step that has one.
    """

    def __init__(
        self,
        workdir: Path,
        problems: Sequence[str],
        done: int,
        steps: int,
        held_out: Sequence[str] = (),
    ):
        """See the class.

        Args:
          workdir: where `metrics.jsonl` and `tensorboard/` go. What is there of steps after `done`
            is dropped: they will be taken again. Records that do not have their digest are dropped
            with a warning that counts them.
          problems: a name for each; with several, their metrics are recorded apart.
          done: meta-steps taken before.
          steps: meta-steps in all.
          held_out: a name for each problem of the validation; with several, their losses are
            recorded apart.
        """
        file = workdir / "metrics.jsonl"
        before = _records_until(file, done)
        write_atomically(file, "".join(map(_line, before.values())))
        if len(before) < done:
            lost = done - len(before)
            _log.warning("%s: the records of %d of %d meta-steps are lost", file, lost, done)
        self.history: dict[int, float] = {k: record["meta_loss"] for k, record in before.items()}
        self.validations: dict[int, float] = {
            k: record["validation_loss"]
            for k, record in before.items()
            if "validation_loss" in record
        }
        self._file = file.open("a", encoding="utf-8")
        self._events = Events(workdir / "tensorboard", done + 1)
        self._progress = Progress(done, steps)
        self._problems, self._held_out = tuple(problems), tuple(held_out)
        self._inner_steps = 0

    def recent_meta_loss(self, step: int) -> float | None:
        """The mean meta-loss of the last meta-steps up to one of them; None if all are lost."""
        steps = range(step - _RECENT + 1, step + 1)
        recent = [self.history[k] for k in steps if k in self.history]
        return float(np.mean(recent)) if recent else None

    def __enter__(self) -> "Recorder":
        self._progress.__enter__()
        self._first = True
        return self

    def __exit__(self, *exception: Any) -> None:
        self._progress.__exit__()
        self._file.close()
        self._events.close()

    def flush(self) -> None:
        """Bring all records to the disk, as must be done before the state of their step is kept."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._events.flush()

    def __call__(self, report: Report, validation: ValidationLoss | None = None) -> None:
        """Record one meta-step, and the validation loss of its theta if it was measured."""
        step, values = int(report.step), _values(report, self._problems)
        if validation is not None:
            values |= _validation_values(validation, self._held_out)
            self.validations[step] = values["validation_loss"]
        if self._first:
            self._start, self._first = time.monotonic(), False
        else:
            self._inner_steps += sum(int(m.inner_steps) for m in report.inner)
        self.history[step] = values["meta_loss"]
        values["inner_steps_per_s"] = self._inner_steps / max(time.monotonic() - self._start, 1e-9)
        line = {"step": step, **values}
        self._file.write(_line(line))
        self._events.add(step, values)
        if self._progress(step, lambda: self._words(line)):
            self._file.flush()

    def _words(self, line: Mapping[str, float]) -> str:
        """The line that is shown of a meta-step, of some 75 columns for one problem."""
        words = [f"loss {self.recent_meta_loss(int(line['step'])):.4f}"]
        parts = [f"{line[f'meta_loss/{p}']:.3g}" for p in self._problems if len(self._problems) > 1]
        words += [f"({' '.join(parts)})"] if parts else []
        if self.validations:
            words.append(f"valid {next(reversed(self.validations.values())):.4f}")
        words.append(f"grad {line['gradient_norm']:.2g}")
        words.append(f"diverged {line['diverged']:.0%}")
        words.append(f"{line['inner_steps_per_s']:,.0f} inner steps/s")
        return " ".join(words)


class Unrecorded:
    """What takes a `Recorder`'s place in processes that write nothing."""

    def __enter__(self) -> "Unrecorded":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def __call__(self, report: Report, validation: ValidationLoss | None = None) -> None:
        """Leave the report alone."""

    def flush(self) -> None:
        """Nothing waits to be written."""


def meta_loss_figure(
    history: Mapping[int, float], validations: Mapping[int, float] | None = None
) -> "Figure":
    """A picture of the meta-loss against the meta-step, with its running mean.

    The axis of losses is logarithmic where all are positive: those of `LogLoss` need not be.

    Args:
      history: step -> meta-loss.
      validations: step -> validation loss, drawn as points.
    """
    # imported when a run ends: its first line should not wait for it
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    if history:
        steps, losses = (np.array(list(values)) for values in (history.keys(), history.values()))
        width = max(1, len(losses) // 25)
        mean = np.convolve(losses, np.ones(width) / width, mode="valid")
        axes.plot(steps, losses, color="C0", alpha=0.25, linewidth=0.8, label="one meta-step")
        axes.plot(steps[width - 1 :], mean, color="C0", label=f"mean of {width}")
    if validations:
        points = list(validations), list(validations.values())
        axes.plot(*points, "o", color="C1", markersize=4, label="validation, held-out task")
    positive = all(loss > 0 for loss in (*history.values(), *(validations or {}).values()))
    axes.set(xlabel="meta-step", ylabel="meta-loss", yscale="log" if positive else "linear")
    if axes.lines:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_meta_loss(
    history: Mapping[int, float], path: Path, validations: Mapping[int, float] | None = None
) -> None:
    """Write the picture of `meta_loss_figure` as a PNG file."""
    with replacing(path) as partial:
        meta_loss_figure(history, validations).savefig(partial, format="png", dpi=150)


def _values(report: Report, problems: Sequence[str]) -> dict[str, float]:
    losses = [float(m.meta_loss) for m in report.inner]
    diverged = [float(m.diverged) for m in report.inner]
    restarted = [float(m.restarted) for m in report.inner]
    values = {
        "meta_loss": float(report.meta_loss),
        "gradient_norm": float(report.gradient_norm),
        "diverged": float(np.mean(diverged)),
        "restarted": float(np.mean(restarted)),
        "skipped": int(report.skipped),
    }
    apart = {"meta_loss": losses, "diverged": diverged, "restarted": restarted}
    return values | {
        k: v for n, part in apart.items() for k, v in _apart(n, problems, part).items()
    }


def _validation_values(validation: ValidationLoss, problems: Sequence[str]) -> dict[str, float]:
    parts = [float(part) for part in validation.parts]
    return {"validation_loss": float(validation.mean), **_apart("validation_loss", problems, parts)}


def _apart(name: str, problems: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """The values by metric and problem, such as `loss/mlp`; empty if there is one problem."""
    pairs = zip(problems, values, strict=True)
    return {f"{name}/{problem}": v for problem, v in pairs} if len(problems) > 1 else {}


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(with_digest(record)) + "\n"


def _records_until(file: Path, last: int) -> dict[int, dict[str, Any]]:
    """The undamaged records of steps up to `last`, by step."""
    lines = file.read_bytes().splitlines() if file.is_file() else ()
    records = [r for r in map(read_digested, lines) if r is not None and _is_step(r, last)]
    return {r["step"]: r for r in sorted(records, key=lambda r: r["step"])}


def _is_step(record: Mapping[str, Any], last: int) -> bool:
    """Whether a record is that of one of the first meta-steps."""
    step, losses = record.get("step"), (record.get("meta_loss"), record.get("validation_loss", 0))
    return isinstance(step, int) and 1 <= step <= last and all(map(is_number, losses))
