"""The folder of a run: whose config it holds, and the files that nothing half-written replaces."""

import json
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from safetensors import SafetensorError

from lopt.base.atomic import remove_partial, write_atomically
from lopt.base.errors import UserError, user_errors
from lopt.runs import distributed
from lopt.runs.lock import only_process

CONFIG = "config.json"
"""The file that says whose a workdir is."""

_PATIENCE = 10  # seconds until a file that one process wrote must appear to the others

_PACKAGES = ("lopt", "jax", "jaxlib", "flax", "optax", "numpy")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


@dataclass(frozen=True)
class Claim:
    """A folder that this process holds as the workdir of a run."""

    workdir: Path  # where it was when it was claimed
    descriptor: int  # of the folder itself, wherever it is

    def require_there(self) -> None:
        """Raise a `UserError` if the folder was moved or removed, or all in it."""
        with suppress(OSError):
            same = os.path.samestat(os.stat(self.workdir), os.fstat(self.descriptor))
            if same and (self.workdir / CONFIG).exists():
                return
        raise UserError(
            f"{self.workdir} was moved, removed or emptied while this was running, and nothing is "
            "written there any more; once it is moved back, the same command resumes"
        )


@contextmanager
def claimed(workdir: Path, config: Mapping[str, Any], written: Sequence[str]) -> Iterator[Claim]:
    """Hold a folder as the workdir of a run with this config; a context manager.

    The config is saved in `config.json` with the versions; `written` are the files and folders
    that a run writes besides. Raises as `require_own`, `writing_to` and `only_process`, and as
    `Claim.require_there` at the end, in place of any other error as well.
    """
    with user_errors(f"cannot use {workdir} as workdir", OSError):
        workdir.mkdir(parents=True, exist_ok=True)
    # also before the lock, so that its file is not left in somebody else's folder
    require_own(workdir, config, written)
    with only_process(workdir), writing_to(workdir):
        require_own(workdir, config, written)
        remove_partial(workdir)
        for name in written:
            remove_partial(workdir / name, below=True)
        file = workdir / CONFIG
        if not file.exists():
            found = {"config": config, "versions": versions()}
            write_atomically(file, json.dumps(found, indent=2) + "\n")
        # held open, so that no folder that takes its place is taken for it
        descriptor = os.open(workdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        claim = Claim(workdir, descriptor)
        try:
            yield claim
        finally:
            try:
                claim.require_there()
            finally:
                os.close(descriptor)


@contextmanager
def claimed_by_first(
    workdir: Path, config: Mapping[str, Any], written: Sequence[str]
) -> Iterator[Claim | None]:
    """As `claimed`, for the first of several processes; the others are given None. Collective.

    All processes have to see the same folder.
    """
    claims: list[Claim] = []
    with ExitStack() as held:
        distributed.from_first(
            lambda: claims.append(held.enter_context(claimed(workdir, config, written)))
        )
        if jax.process_count() > 1:
            _require_shared(workdir)
        yield claims[0] if claims else None


def require_own(
    workdir: Path,
    config: Mapping[str, Any],
    written: Sequence[str],
    fixes: Mapping[str, str] | None = None,
) -> None:
    """Raise a `UserError` unless a folder is, or may become, the workdir of a run with this config.

    It is not if it has another config (`fixes` may tell what to do, by the first key that differs),
    a damaged one, or none and files of `written` that a run would write over.
    """
    found = saved(workdir)
    if found is None:
        foreign = [name for name in written if (workdir / name).exists()]
        if foreign:
            raise UserError(
                f"{workdir} has {foreign[0]} and no config.json that tells whose it is; choose "
                "another --workdir, or remove that file"
            )
    elif difference := first_difference(found["config"], config):
        fix = (fixes or {}).get(difference.partition(" ")[0], "")
        raise UserError(
            f"{workdir} holds a run of another config ({difference}); {fix and f'{fix}, '}choose "
            "another --workdir, or remove that one"
        )


def saved(workdir: Path) -> dict[str, Any] | None:
    """The contents of a workdir's `config.json`, or None without one; a `UserError` if damaged."""
    file, what = workdir / CONFIG, f"cannot use {workdir} as workdir: its {CONFIG}"
    if file.exists() and not file.is_file():  # of a pipe the reader would wait for a writer
        raise UserError(f"{what} is no file")
    fix = "restore it, or choose another --workdir"
    with user_errors(f"{what} is damaged or cannot be read", fix=fix):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return {**found, "config": found["config"]}


@contextmanager
def writing_to(workdir: Path) -> Iterator[None]:
    """Make a `UserError` of whatever says that a file cannot be written; a context manager."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise UserError(
            f"{workdir} can no longer be written ({reason}); when it can, the same command resumes "
            "from the newest checkpoint"
        ) from error


def _reason(error: Exception) -> str | None:
    """Why the operating system refused a file, if that is what an error says.

    TensorStore and safetensors put the system's number into the text of errors of their own.
    """
    if isinstance(error, BrokenPipeError):  # of what is printed
        return None
    if isinstance(error, OSError):
        return error.strerror  # None for an error that a library made, as of a wait
    number = re.search(r"os_error_code='(\d+)'|\(os error (\d+)\)", str(error))
    return os.strerror(int(number[1] or number[2])) if number else None


def _require_shared(workdir: Path) -> None:
    file, token = workdir / "token", distributed.from_first(secrets.token_hex)
    distributed.from_first(lambda: write_atomically(file, token))
    if not distributed.everywhere(_appears(file, token)):
        raise UserError(
            f"the processes of the run do not share {workdir}; let --workdir be the same folder "
            "for all, on a file system that all of them see"
        )
    distributed.from_first(file.unlink)


def _appears(file: Path, token: str) -> bool:
    """Whether a file holds a text within the seconds that network file systems may take."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if file.exists() and file.read_text() == token:
            return True
        time.sleep(0.1)
    return False


def first_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The first difference of two configs in words; an empty text if they are alike.

    >>> first_difference({"outer": {"steps": 3}}, {"outer": {"steps": 4}})
    'outer.steps is 3 there and 4 here'
    """
    here = json.loads(json.dumps(here))  # as it was saved: with lists for tuples
    return next(_differences(there, here, ""), "")


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}".strip("."))
    elif old != new:
        yield f"{path} is {old!r} there and {new!r} here"
