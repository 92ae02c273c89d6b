"""What a run tells while it goes: a progress bar, metrics.jsonl and TensorBoard events."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from lopt.atomic import write_atomically
from lopt.meta.loop import Report
from lopt.meta.validation import ValidationLoss

_INTERVAL = 0.2
"""Seconds between two refreshes of the progress bar."""

_RECENT = 50
"""Meta-steps that the meta-loss shown is the mean of."""


class Recorder:
    """Records the report of every meta-step; a context manager.

    Attributes:
      history: the meta-loss of each step, those of an earlier part of the run included.
      validations: the validation loss of each step that has one.
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
            is dropped: they will be taken again.
          problems: a name for each; with several, their metrics are recorded apart.
          done: meta-steps taken before.
          steps: meta-steps in all.
          held_out: a name for each problem of the validation; with several, their losses are
            recorded apart.
        """
        file = workdir / "metrics.jsonl"
        lines = _lines_until(file, done)
        write_atomically(file, "".join(lines))
        before = [json.loads(line) for line in lines]
        self.history: list[float] = [line["meta_loss"] for line in before]
        self.validations: dict[int, float] = {
            line["step"]: line["validation_loss"] for line in before if "validation_loss" in line
        }
        self._file = file.open("a")
        self._writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=done + 1)
        self._bar = Progress(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            expand=True,
        )
        self._problems, self._held_out = tuple(problems), tuple(held_out)
        self._steps, self._done = steps, done
        self._inner_steps = 0

    def recent_meta_loss(self, step: int) -> float:
        """The mean meta-loss of the last meta-steps up to one of them."""
        return float(np.mean(self.history[:step][-_RECENT:]))

    def __enter__(self) -> "Recorder":
        self._bar.start()
        self._row = self._bar.add_task("compiling", total=self._steps, completed=self._done)
        self._start = self._shown = time.monotonic()
        self._first = True
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.stop()
        self._file.close()
        self._writer.close()

    def flush(self) -> None:
        """Bring all records to the disk, as must be done before the state of their step is kept."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._writer.flush()

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
        self.history.append(values["meta_loss"])
        now = time.monotonic()
        rate = self._inner_steps / max(now - self._start, 1e-9)
        line = {"step": step, **values, "inner_steps_per_s": rate}
        self._file.write(json.dumps(line) + "\n")
        for name, value in line.items():
            if name != "step":
                self._writer.add_scalar(name, value, step)
        if now - self._shown > _INTERVAL or step == self._steps:
            self._shown = now
            self._file.flush()
            self._bar.update(self._row, completed=step, description=self._words(line))

    def _words(self, line: Mapping[str, float]) -> str:
        """What the progress bar says after a meta-step, in some 75 columns for one problem."""
        words = [f"loss {self.recent_meta_loss(line['step']):.4f}"]
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


def plot_meta_loss(
    history: Sequence[float], path: Path, validations: Mapping[int, float] | None = None
) -> None:
    """A picture of the meta-loss against the meta-step, with its running mean.

    Args:
      history: the meta-loss of each step.
      path: of the picture.
      validations: the validation loss of some steps, drawn as points.
    """
    steps = np.arange(1, len(history) + 1)
    width = max(1, len(history) // 25)
    mean = np.convolve(history, np.ones(width) / width, mode="valid")
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.plot(steps, history, color="C0", alpha=0.25, linewidth=0.8, label="one meta-step")
    axes.plot(steps[width - 1 :], mean, color="C0", label=f"mean of {width}")
    if validations:
        points = list(validations), list(validations.values())
        axes.plot(*points, "o", color="C1", markersize=4, label="validation, held-out task")
    axes.set(xlabel="meta-step", ylabel="meta-loss", yscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _values(report: Report, problems: Sequence[str]) -> dict[str, float]:
    losses = [float(m.meta_loss) for m in report.inner]
    diverged = [float(m.diverged) for m in report.inner]
    values = {
        "meta_loss": float(report.meta_loss),
        "gradient_norm": float(report.gradient_norm),
        "diverged": float(np.mean(diverged)),
        "skipped": int(report.skipped),
    }
    return values | _apart("meta_loss", problems, losses) | _apart("diverged", problems, diverged)


def _validation_values(validation: ValidationLoss, problems: Sequence[str]) -> dict[str, float]:
    parts = [float(part) for part in validation.parts]
    return {"validation_loss": float(validation.mean), **_apart("validation_loss", problems, parts)}


def _apart(name: str, problems: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """A value of each problem under its name, where there are several."""
    pairs = zip(problems, values, strict=True)
    return {f"{name}/{problem}": v for problem, v in pairs} if len(problems) > 1 else {}


def _lines_until(file: Path, step: int) -> list[str]:
    """The whole lines of the first steps; a line cut short by a crash ends them."""
    lines = []
    if file.exists():
        for line in file.read_text().splitlines(keepends=True):
            try:
                if json.loads(line)["step"] > step:
                    break
            except (json.JSONDecodeError, KeyError):
                break
            lines.append(line)
    return lines
