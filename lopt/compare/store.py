"""The workdir of a comparison: trials are kept as they come, so that a killed one resumes."""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lopt.base.archive import Archive
from lopt.base.atomic import write_atomically
from lopt.base.digested import is_number, read_digested, with_digest
from lopt.base.errors import UserError
from lopt.compare.trials import Setting, Trial
from lopt.runs.workdir import claimed

REPORTS = ("results.json", "report.md", "report.html", "curves.png")
"""What a comparison writes at its end, with more pictures."""


_TRIALS = "trials"

_ARCHIVE = Archive("trial", "lopt.trial", format=1, hint="lopt.compare writes them", finite=False)


class TrialWarning(UserWarning):
    """A trial or the times of steps that were kept are damaged, and are measured again."""


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
          UserError: as `lopt.runs.workdir.claimed`.
        """
        self._claim = self._locked.enter_context(
            claimed(self.folder, self._plan, (_TRIALS, *REPORTS))
        )
        return self

    def __exit__(self, *exception: Any) -> None:
        self._locked.__exit__(*exception)

    def load(self, task: str, optimizer: str, setting: Setting) -> Trial | None:
        """A trial that was kept, or None.

        Warns:
          TrialWarning: if it is damaged, and counts as not kept.
        """
        file = self._file(task, optimizer, setting)
        if not file.exists():
            return None
        try:
            with _ARCHIVE.reading(file) as (arrays, contents):
                if contents != _identity(task, optimizer, setting):
                    raise UserError("it is another trial")
                losses, metrics = arrays["losses"], arrays.get("metric", {})
                if losses.ndim != 2 or any(m.shape != losses.shape[:1] for m in metrics.values()):
                    raise UserError("it does not hold losses of each seed and step")
                return Trial(setting, losses, metrics)
        except UserError as error:
            warnings.warn(f"{error}; it is made again", TrialWarning, stacklevel=2)
            return None

    def keep(self, task: str, optimizer: str, trial: Trial) -> None:
        """Write a trial, all of it or nothing.

        Raises:
          WriteError: if it cannot be written.
        """
        arrays = {"losses": trial.losses, "metric": trial.metrics}
        file = self._file(task, optimizer, trial.setting)
        with self._writing(file):
            _ARCHIVE.write(file, arrays, _identity(task, optimizer, trial.setting))

    def times(self, task: str) -> dict[str, float]:
        """The times of steps that were kept, by optimizer; none if they were not.

        Warns:
          TrialWarning: if they are damaged, and count as not kept.
        """
        file = self._times_file(task)
        if not file.is_file():
            return {}
        times = (read_digested(file.read_bytes()) or {}).get("step_ms")
        if isinstance(times, dict) and all(map(is_number, times.values())):
            return times
        warnings.warn(f"{file} is damaged; times are measured again", TrialWarning, stacklevel=2)
        return {}

    def keep_times(self, task: str, times: Mapping[str, float]) -> None:
        """Write the times of steps on a task.

        Raises:
          WriteError: if they cannot be written.
        """
        file = self._times_file(task)
        with self._writing(file):
            write_atomically(file, json.dumps(with_digest({"step_ms": dict(times)})))

    @contextmanager
    def _writing(self, file: Path) -> Iterator[None]:
        """Write a file below the folder, which was made when it was claimed and not again."""
        try:
            self._claim.require_there()
            folder = self.folder
            for name in file.relative_to(folder).parts[:-1]:
                folder = folder / name
                folder.mkdir(exist_ok=True)
            yield
        except OSError as error:
            raise WriteError(
                f"{self.folder} can no longer be written ({error.strerror or error}); free some "
                "space or correct its rights, and the same command resumes"
            ) from error
        except UserError as error:
            raise WriteError(str(error)) from error

    def _times_file(self, task: str) -> Path:
        return self.folder / _TRIALS / _slug(task) / "step_ms.json"

    def _file(self, task: str, optimizer: str, setting: Setting) -> Path:
        rate, schedule, decay = setting
        name = "own" if rate is None else f"{rate:g}-{schedule}"
        name += "" if decay is None else f"-{decay:g}"
        return self.folder / _TRIALS / _slug(task) / _slug(optimizer) / f"{name}.safetensors"


def _identity(task: str, optimizer: str, setting: Setting) -> dict[str, Any]:
    """What a file says that it is the trial of."""
    rate, schedule, decay = setting
    numbers = [None if x is None else float(x) for x in (rate, decay)]
    return {"task": task, "optimizer": optimizer, "setting": [*numbers, schedule]}


def _slug(text: str) -> str:
    """A folder's name: the letters and digits with which a text begins, and a digest of it."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:40]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
