"""Checkpoints of any pytree of arrays, from which an interrupted run resumes bit for bit."""

import hashlib
import logging
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from jaxtyping import Array, PyTree

from lopt.base.atomic import write_atomically
from lopt.base.errors import UserError, reason_of, user_errors
from lopt.base.printed import printable
from lopt.runs.distributed import everywhere
from lopt.runs.workdir import writing_to

FOLDER = "checkpoints"
"""The folder of a workdir that they are in."""

_KEPT = 3  # if one is damaged, two are left to resume from

_COPIES = 5  # on the disk at most, one that is being written included

_RESERVE = 2**24  # bytes for what else a run writes

_ITEM = "default"  # orbax' name for the one thing in a checkpoint

_DIGEST, _COMMITTED = "sha256", "commit_success.txt"  # orbax adds the second after the digest

_log = logging.getLogger(__name__)

State = TypeVar("State")


class Digested(ocp.StandardCheckpointHandler):
    """Writes a digest of all files of a checkpoint into it, and reads none that differs from it.

    The formats below would let most flips of a bit pass, and load other numbers.
    """

    def finalize(self, directory: Path) -> None:
        # orbax calls it once all processes have written, and before the checkpoint counts
        directory = Path(directory)  # orbax' own path would take brackets in it for a pattern
        super().finalize(directory)
        (directory / _DIGEST).write_text(_digest(directory))

    def restore(self, directory: Path, args: ocp.args.StandardRestore) -> Any:
        if (directory / _DIGEST).read_text() != _digest(directory):
            raise ValueError("its files are not those that were written")
        return super().restore(directory, args=args)


class Checkpoints:
    """The checkpoints in a folder: written in the background, whole or not at all.

    A context manager: leaving it waits for what is being written.
    """

    def __init__(self, folder: Path):
        """Make the folder if it is not there; raises as `require_keepable`."""
        require_keepable(folder)
        # folders that cannot be made would have threads wait for them, for minutes
        at_once = ocp.AsyncOptions(create_directories_asynchronously=False)
        options = ocp.CheckpointManagerOptions(max_to_keep=_KEPT, async_options=at_once)
        handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
        handlers.add(_ITEM, ocp.args.StandardSave, Digested())
        self._manager = ocp.CheckpointManager(
            folder.resolve(), options=options, handler_registry=handlers
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def save(self, step: int, state: Any) -> None:
        """Write the state after a step, unless its checkpoint is there already."""
        if step not in self._manager.all_steps():
            self._manager.save(step, args=ocp.args.StandardSave(state))

    def latest(self, like: State) -> State:
        """The newest state that can be read; `like`, if there is no checkpoint. Collective.

        One that cannot be read is passed over with a warning, and removed, so that the run can
        write it again; a `UserError` if none can. `like` gives structure and place on the devices.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        broken = []
        for step in steps:
            state = self._read(step, target)
            there = everywhere(state is not None)  # first: all processes have to ask
            if state is None or not there:
                broken.append(step)
                continue
            for one in broken:
                self._manager.delete(one)
            return state
        if broken:
            raise UserError(
                f"none of the checkpoints {broken} in {self._manager.directory} can be read; "
                "remove the folder to start over"
            )
        return like

    def _read(self, step: int, target: State) -> State | None:
        """The state after a step, or None if this process cannot read it; others may."""
        folder = self._manager.directory / str(step) / _ITEM
        try:
            with closing(Digested()) as handler:
                return handler.restore(folder, args=ocp.args.StandardRestore(target))
        except Exception as error:
            _log.warning("checkpoint %d cannot be read (%s)", step, printable(reason_of(error)))
            return None


def require_keepable(folder: Path) -> None:
    """Refuse what orbax cannot write: names that are not UTF-8, and dates before 1970."""
    name = str(folder.absolute())
    with user_errors(f"{name!r} is not UTF-8", UnicodeEncodeError, fix="choose another --workdir"):
        name.encode()
    if time.time() < 0:
        raise UserError("checkpoints cannot be dated: this machine's clock is before 1970; set it")


def require_space(workdir: Path, state: PyTree[Array]) -> None:
    """Refuse a folder that checkpoints of a state cannot be written to, before compute is spent."""
    probe = workdir / "probe"
    with writing_to(workdir):
        write_atomically(probe, "")
        probe.unlink()
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    there = sum(f.stat().st_size for f in (workdir / FOLDER).rglob("*") if f.is_file())
    needed, free = _COPIES * size + _RESERVE - there, shutil.disk_usage(workdir).free
    if free < needed:
        raise UserError(
            f"{workdir} has {free / 2**20:,.0f} MiB of free disk space and the run needs "
            f"{needed / 2**20:,.0f}; free some, or choose another --workdir"
        )


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for file in sorted(Path(folder).rglob("*")):
        if file.is_file() and file.name not in (_DIGEST, _COMMITTED):
            with file.open("rb") as contents:
                of_file = hashlib.file_digest(contents, "sha256").hexdigest()
            total.update(f"{file.relative_to(folder)} {of_file}\n".encode())
    return total.hexdigest()
