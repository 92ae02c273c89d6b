"""Checkpoints of meta-training, from which an interrupted run goes on bit for bit."""

import logging
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from lopt.errors import UserError
from lopt.meta.distributed import everywhere
from lopt.meta.loop import MetaState
from lopt.meta.validation import Best

_KEEP = 3
"""How many checkpoints stay."""

_log = logging.getLogger(__name__)


class Snapshot(NamedTuple):
    """What a run goes on from.

    Attributes:
      state: of meta-training.
      best: of the validations up to there.
    """

    state: MetaState
    best: Best


class Checkpoints:
    """The checkpoints of a workdir: written in the background, whole or not at all.

    A context manager: leaving it waits for what is being written.
    """

    def __init__(self, folder: Path):
        """See the class.

        Args:
          folder: made if it is not there.
        """
        options = ocp.CheckpointManagerOptions(max_to_keep=_KEEP, create=True)
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot under the number of its step, unless it is kept already."""
        step = int(snapshot.state.step)
        if step not in self._manager.all_steps():
            self._manager.save(step, args=ocp.args.StandardSave(snapshot))

    def latest(self, like: Snapshot) -> Snapshot:
        """The newest snapshot that can be read; `like`, if none was ever kept.

        One that cannot be read is passed over with a warning, and removed, so that the run can
        write it anew.

        Args:
          like: a snapshot of the same run, for its structure and its place on the devices.

        Raises:
          UserError: if there are checkpoints and none can be read.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        broken = []
        for step in steps:
            snapshot = self._read(step, target)
            if not everywhere(snapshot is not None):
                broken.append(step)
                continue
            for one in broken:
                self._manager.delete(one)
            return snapshot
        if broken:
            raise UserError(
                f"none of the checkpoints {broken} in {self._manager.directory} can be read; "
                "remove the folder to start anew"
            )
        return like

    def _read(self, step: int, target: Snapshot) -> Snapshot | None:
        """The snapshot of a step; each process reads on its own, and one may fail alone."""
        folder = self._manager.directory / str(step) / "default"
        try:
            with closing(ocp.StandardCheckpointHandler()) as handler:
                return handler.restore(folder, args=ocp.args.StandardRestore(target))
        except Exception as error:
            _log.warning("checkpoint %d cannot be read (%s)", step, _first_line(error))
            return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
