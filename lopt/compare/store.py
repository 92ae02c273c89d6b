"""The workdir of a comparison: trials are kept as they come, so that a killed one resumes."""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lopt.atomic import replacing
from lopt.compare.trials import Setting, Trial
from lopt.errors import UserError
from lopt.meta.workdir import claimed

REPORTS = ("results.json", "report.md", "report.html", "curves.png")
"""What a comparison writes at its end, with more pictures."""


_TRIALS = "trials"


class Memory:
    """Keeps nothing: trials are in the results only; a context manager."""

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def load(self, task: str, optimizer: str, setting: Setting) -> None:
        """There is nothing."""

    def keep(self, task: str, optimizer: str, trial: Trial) -> None:
        """Leave it alone."""

    def times(self, task: str) -> dict[str, float]:
        """There are none."""
        return {}

    def keep_times(self, task: str, times: Mapping[str, float]) -> None:
        """Leave them alone."""


class WriteError(UserError):
    """The workdir can no longer be written, whatever the optimizer is."""


class Store:
    """The trials of a comparison on disk; a context manager that keeps other processes out.

    Attributes:
      folder: the workdir.
    """

    def __init__(self, folder: str | os.PathLike, plan: Mapping[str, Any]):
        """Nothing is written before the context is entered.

        Args:
          folder: made if it is not there.
          plan: plain data that say what is compared.
        """
        self.folder = Path(folder)
        self._plan = plan
        self._locked = ExitStack()

    def __enter__(self) -> "Store":
        """Hold the folder as the workdir of the comparison.

        Raises:
          UserError: as `lopt.meta.workdir.claimed`.
        """
        self._locked.enter_context(claimed(self.folder, self._plan, (_TRIALS, *REPORTS)))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._locked.close()

    def load(self, task: str, optimizer: str, setting: Setting) -> Trial | None:
        """A trial that was kept, or None; a damaged one counts as not kept."""
        file = self._file(task, optimizer, setting)
        with suppress(OSError, KeyError, ValueError, zipfile.BadZipFile), np.load(file) as arrays:
            metrics = {k.removeprefix("metric/"): arrays[k] for k in arrays if "metric/" in k}
            return Trial(setting, arrays["losses"], metrics)
        return None

    def keep(self, task: str, optimizer: str, trial: Trial) -> None:
        """Write a trial, all of it or nothing.

        Raises:
          UserError: if it cannot be written.
        """
        arrays: dict[str, Any] = {f"metric/{k}": values for k, values in trial.metrics.items()}
        with self._writing(self._file(task, optimizer, trial.setting)) as partial:
            np.savez(partial, losses=trial.losses, **arrays)

    def times(self, task: str) -> dict[str, float]:
        """The times of steps that were kept, by optimizer; none if they were not."""
        with suppress(OSError, ValueError):
            return json.loads(self._times_file(task).read_text())
        return {}

    def keep_times(self, task: str, times: Mapping[str, float]) -> None:
        """Write the times of steps on a task.

        Raises:
          UserError: if they cannot be written.
        """
        with self._writing(self._times_file(task)) as written:
            written.write(json.dumps(times).encode())

    @contextmanager
    def _writing(self, file: Path) -> Iterator[BinaryIO]:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as partial, partial.open("wb") as opened:
                yield opened
        except OSError as error:
            raise WriteError(
                f"{self.folder} can no longer be written ({error.strerror or error}); free some "
                "space or correct its rights, and the same command resumes"
            ) from error

    def _times_file(self, task: str) -> Path:
        return self.folder / _TRIALS / _slug(task) / "step_ms.json"

    def _file(self, task: str, optimizer: str, setting: Setting) -> Path:
        rate, schedule, decay = setting
        name = "own" if rate is None else f"{rate:g}-{schedule}"
        name += "" if decay is None else f"-{decay:g}"
        return self.folder / _TRIALS / _slug(task) / _slug(optimizer) / f"{name}.npz"


def _slug(text: str) -> str:
    """A folder's name: the letters and digits with which a text begins, and a digest of it."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:40]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
