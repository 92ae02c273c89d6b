"""What a run tells while it goes: a progress bar, metrics.jsonl and TensorBoard events."""

import json
import time
from pathlib import Path
from types import TracebackType

import matplotlib.pyplot as plt
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from lopt.meta.loop import Report

_INTERVAL = 0.2
"""Seconds between two refreshes of the progress bar."""


class Recorder:
    """Records the report of every meta-step; a context manager.

    Attributes:
      history: the meta-loss of each step so far.
    """

    def __init__(self, workdir: Path, steps: int):
        """See the class.

        Args:
          workdir: where `metrics.jsonl` and `tensorboard/` go.
          steps: meta-steps in all.
        """
        self.history: list[float] = []
        self._file = (workdir / "metrics.jsonl").open("w")
        self._writer = SummaryWriter(str(workdir / "tensorboard"))
        self._bar = Progress(
            TextColumn("meta-training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("meta-loss {task.fields[loss]}"),
            TextColumn("{task.fields[rate]} inner steps/s"),
            TimeRemainingColumn(),
        )
        self._steps = steps
        self._inner_steps = 0

    def __enter__(self) -> "Recorder":
        self._bar.start()
        self._row = self._bar.add_task("", total=self._steps, loss="…", rate="…")
        self._start = self._shown = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        self._file.close()
        self._writer.close()

    def __call__(self, step: int, report: Report) -> None:
        """Record the report of the meta-step after which `step` were taken."""
        values = {
            "meta_loss": float(report.inner.meta_loss),
            "gradient_norm": float(report.gradient_norm),
            "diverged": float(report.inner.diverged),
            "skipped": int(report.skipped),
        }
        if not self.history:
            self._start = time.monotonic()
        else:
            self._inner_steps += int(report.inner.inner_steps)
        self.history.append(values["meta_loss"])
        now = time.monotonic()
        rate = self._inner_steps / max(now - self._start, 1e-9)
        self._file.write(json.dumps({"step": step, **values, "inner_steps_per_s": rate}) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if now - self._shown > _INTERVAL or step == self._steps:
            self._shown = now
            recent = np.mean(self.history[-50:])
            self._bar.update(self._row, completed=step, loss=f"{recent:.4f}", rate=f"{rate:,.0f}")


def plot_meta_loss(history: list[float], path: Path) -> None:
    """A picture of the meta-loss against the meta-step, with its running mean."""
    steps = np.arange(1, len(history) + 1)
    width = max(1, len(history) // 25)
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.plot(steps, history, color="C0", alpha=0.25, linewidth=0.8, label="one meta-step")
    if len(history) >= width:
        mean = np.convolve(history, np.ones(width) / width, mode="valid")
        axes.plot(steps[width - 1 :], mean, color="C0", label=f"mean of {width}")
    axes.set(xlabel="meta-step", ylabel="meta-loss", yscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
