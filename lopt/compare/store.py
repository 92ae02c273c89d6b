"""The workdir of a comparison: trials are written as they come, so that a killed one resumes."""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lopt.base.archive import Archive
from lopt.base.atomic import write_atomically
from lopt.base.digested import is_number, read_digested, with_digest
from lopt.base.errors import UserError
from lopt.compare.trials import Setting, Trial
from lopt.runs.workdir import Claim, claimed

REPORTS = ("results.json", "report.md", "report.html", "curves.png")
"""Files that a comparison writes at its end, with more pictures."""

_TRIALS = "trials"

ARCHIVE = Archive("trial", "lopt.trial", format=1, hint="lopt.compare writes them", finite=False)


class TrialWarning(UserWarning):
    """A stored trial, or stored times of steps, are damaged, and are measured again."""


@contextmanager
def opened(folder: str | os.PathLike, plan: Mapping[str, Any]) -> Iterator["Store"]:
    """Hold a folder as the workdir of a comparison of a plan, and keep other processes out."""
    with claimed(Path(folder), plan, (_TRIALS, *REPORTS)) as claim:
        yield Store(claim)


@dataclass(frozen=True)
class Store:
    """The trials of a comparison on disk."""

    claim: Claim

    def load(self, task: str, optimizer: str, setting: Setting) -> Trial | None:
        """The stored trial, or None if there is none or it is damaged."""
        file = self._file(task, optimizer, setting)
        if not file.exists():
            return None
        try:
            with ARCHIVE.reading(file) as (arrays, contents):
                if contents != _identity(task, optimizer, setting):
                    raise UserError("it is another trial")
                losses, metrics = arrays["losses"], arrays.get("metric", {})
                if losses.ndim != 2 or any(m.shape != losses.shape[:1] for m in metrics.values()):
                    raise UserError("it does not hold losses of each seed and step")
                return Trial(setting, losses, metrics)
        except UserError as error:
            warnings.warn(f"{error}; it is made again", TrialWarning, stacklevel=2)
            return None

    def save(self, task: str, optimizer: str, trial: Trial) -> None:
        """Write a trial, all of it or nothing."""
        arrays = {"losses": trial.losses, "metric": trial.metrics}
        file = self._place(self._file(task, optimizer, trial.setting))
        ARCHIVE.write(file, arrays, _identity(task, optimizer, trial.setting))

    def load_times(self, task: str) -> dict[str, float]:
        """The stored times of steps on a task, by optimizer; none if they are damaged."""
        file = self._times_file(task)
        if not file.is_file():
            return {}
        times = (read_digested(file.read_bytes()) or {}).get("step_ms")
        if isinstance(times, dict) and all(map(is_number, times.values())):
            return times
        warnings.warn(f"{file} is damaged; times are measured again", TrialWarning, stacklevel=2)
        return {}

    def save_times(self, task: str, times: Mapping[str, float]) -> None:
        """Write the times of steps on a task."""
        file = self._place(self._times_file(task))
        write_atomically(file, json.dumps(with_digest({"step_ms": dict(times)})))

    def _place(self, file: Path) -> Path:
        """A file that is about to be written, in a folder that is there."""
        self.claim.require_there()
        # Not with `parents=True`: a workdir that was moved away must not be made again.
        for folder in reversed(file.relative_to(self.claim.workdir).parents[:-1]):
            (self.claim.workdir / folder).mkdir(exist_ok=True)
        return file

    def _times_file(self, task: str) -> Path:
        return self.claim.workdir / _TRIALS / _slug(task) / "step_ms.json"

    def _file(self, task: str, optimizer: str, setting: Setting) -> Path:
        rate, schedule, decay = setting
        # Former versions have named files so, and their trials are found again.
        name = "own" if rate is None else f"{rate:g}-{schedule}"
        name += "" if decay is None else f"-{decay:g}"
        folder = self.claim.workdir / _TRIALS / _slug(task) / _slug(optimizer)
        return folder / f"{name}.safetensors"


def _identity(task: str, optimizer: str, setting: Setting) -> dict[str, Any]:
    """The words in a file that say which trial it is."""
    rate, schedule, decay = setting
    numbers = [None if x is None else float(x) for x in (rate, decay)]
    return {"task": task, "optimizer": optimizer, "setting": [*numbers, schedule]}


def _slug(text: str) -> str:
    """A folder's name: the letters and digits with which a text begins, and a digest of it."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:40]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
