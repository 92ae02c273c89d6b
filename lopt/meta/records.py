"""What a run tells while it goes: a progress bar, metrics.jsonl and TensorBoard events."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from lopt.meta.loop import Report
from lopt.meta.workdir import write_atomically

_INTERVAL = 0.2
"""Seconds between two refreshes of the progress bar."""

_RECENT = 50
"""Meta-steps that the meta-loss shown is the mean of."""


class Recorder:
    """Records the report of every meta-step; a context manager.

    Attributes:
      history: the meta-loss of each step, the mean over problems, those of an earlier part of the
        run included.
    """

    def __init__(self, workdir: Path, problems: Sequence[str], done: int, steps: int):
        """See the class.

        Args:
          workdir: where `metrics.jsonl` and `tensorboard/` go. What is there of steps after `done`
            is dropped: they will be taken again.
          problems: a name for each; with several, their meta-losses are recorded apart.
          done: meta-steps taken before.
          steps: meta-steps in all.
        """
        file = workdir / "metrics.jsonl"
        lines = _lines_until(file, done)
        write_atomically(file, "".join(lines))
        self.history = [json.loads(line)["meta_loss"] for line in lines]
        self._file = file.open("a")
        self._writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=done + 1)
        self._bar = Progress(
            TextColumn("meta-training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("meta-loss {task.fields[loss]}"),
            TextColumn("{task.fields[rate]} inner steps/s"),
            TimeRemainingColumn(),
        )
        self._problems = tuple(problems)
        self._steps, self._done = steps, done
        self._inner_steps = 0

    @property
    def recent_meta_loss(self) -> float:
        """The mean meta-loss of the last meta-steps."""
        return float(np.mean(self.history[-_RECENT:]))

    def __enter__(self) -> "Recorder":
        self._bar.start()
        self._row = self._bar.add_task(
            "", total=self._steps, completed=self._done, loss="…", rate="…"
        )
        self._start = self._shown = time.monotonic()
        self._first = True
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.stop()
        self._file.close()
        self._writer.close()

    def flush(self) -> None:
        """Bring every line to the disk, as must be done before the state of its step is kept."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __call__(self, report: Report) -> None:
        """Record one meta-step."""
        step, values = int(report.step), _values(report, self._problems)
        if self._first:
            self._start, self._first = time.monotonic(), False
        else:
            self._inner_steps += sum(int(m.inner_steps) for m in report.inner)
        self.history.append(values["meta_loss"])
        now = time.monotonic()
        rate = self._inner_steps / max(now - self._start, 1e-9)
        line = {"step": step, **values, "inner_steps_per_s": rate}
        self._file.write(json.dumps(line) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if now - self._shown > _INTERVAL or step == self._steps:
            self._shown = now
            self._file.flush()
            loss = f"{self.recent_meta_loss:.4f}"
            self._bar.update(self._row, completed=step, loss=loss, rate=f"{rate:,.0f}")


def plot_meta_loss(history: Sequence[float], path: Path) -> None:
    """A picture of the meta-loss against the meta-step, with its running mean."""
    steps = np.arange(1, len(history) + 1)
    width = max(1, len(history) // 25)
    mean = np.convolve(history, np.ones(width) / width, mode="valid")
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.plot(steps, history, color="C0", alpha=0.25, linewidth=0.8, label="one meta-step")
    axes.plot(steps[width - 1 :], mean, color="C0", label=f"mean of {width}")
    axes.set(xlabel="meta-step", ylabel="meta-loss", yscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _values(report: Report, problems: Sequence[str]) -> dict[str, float]:
    losses = [float(m.meta_loss) for m in report.inner]
    values = {
        "meta_loss": float(np.mean(losses)),
        "gradient_norm": float(report.gradient_norm),
        "diverged": float(np.mean([float(m.diverged) for m in report.inner])),
        "skipped": int(report.skipped),
    }
    if len(problems) > 1:
        values |= {f"meta_loss/{n}": v for n, v in zip(problems, losses, strict=True)}
    return values


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
