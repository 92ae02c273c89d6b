"""TensorBoard events, written by the thread that records them."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import scalar


class Events:
    """An event file of scalars.

    `SummaryWriter` hands its events to a thread, and waits for that forever once an error of the
    disk has ended it. Here the error is raised where it can be answered.
    """

    def __init__(self, folder: Path, start: int):
        """See the class.

        Args:
          folder: made if it is not there; TensorBoard shows all event files in it as one run.
          start: the first step. What older files have of this and later ones is not shown.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        self._write(start, file_version="brain.Event:2")
        self._write(start, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        parts = [scalar(name, value).value[0] for name, value in values.items()]
        self._write(step, summary=Summary(value=parts))

    def flush(self) -> None:
        """Bring what was written to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Flush, and close the file."""
        self._writer.close()

    def _write(self, step: int, **contents: object) -> None:
        self._writer.write_event(Event(step=step, wall_time=time.time(), **contents))
