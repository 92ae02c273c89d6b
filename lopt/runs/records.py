"""The metrics of a run's steps, in a file of lines and as TensorBoard events."""

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import scalar

from lopt.base.atomic import write_atomically
from lopt.base.digested import is_number, read_digested, with_digest

_log = logging.getLogger(__name__)


class Records:
    """Writes the metrics of each step; a context manager.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with Records(folder, done=0) as records:
    ...     records.write(1, {"loss": 0.5})
    >>> read_records(folder / "metrics.jsonl", last=1)
    {1: {'step': 1, 'loss': 0.5}}
    """

    def __init__(self, folder: Path, done: int, required: Sequence[str] = ()):
        """Go on after `done` steps: records of later ones, which will be taken again, are dropped.

        So are those without a digest or the `required` metrics; a warning counts them.
        """
        file = folder / "metrics.jsonl"
        self.before = read_records(file, done, required)  # by step
        write_atomically(file, "".join(map(_line, self.before.values())))
        if len(self.before) < done:
            lost = done - len(self.before)
            _log.warning("%s: the records of %d of %d steps are lost", file, lost, done)
        self._file = file.open("a", buffering=1, encoding="utf-8")  # a line at a time
        (folder / "tensorboard").mkdir(exist_ok=True)
        # SummaryWriter hands its events to a thread. Once an error of the disk has ended that
        # thread it would wait for it forever; EventsWriter raises the error here.
        prefix, suffix = str(folder / "tensorboard" / "events"), f".{os.getpid()}"
        self._events = EventsWriter(prefix, suffix)
        # TensorBoard hides what older files have of this step and later ones
        self._write_event(done + 1, session_log=SessionLog(status=SessionLog.START))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.close()
        self._events.close()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._file.write(_line({"step": step, **metrics}))
        shown = [scalar(name, value).value[0] for name, value in metrics.items()]
        self._write_event(step, summary=Summary(value=shown))

    def flush(self) -> None:
        """Bring all records to the disk, before anything counts on them."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._events.flush()

    def _write_event(self, step: int, **contents: Any) -> None:
        self._events.write_event(Event(step=step, wall_time=time.time(), **contents))


def read_records(
    file: Path, last: int, required: Sequence[str] = ()
) -> dict[int, dict[str, float]]:
    """The undamaged records of a file of the steps up to `last`, by step."""
    lines = file.read_bytes().splitlines() if file.is_file() else ()
    found: dict[int, dict[str, float]] = {}
    for record in filter(None, map(read_digested, lines)):
        step = record.get("step")
        whole = all(map(is_number, record.values())) and set(required) <= record.keys()
        if whole and isinstance(step, int) and 1 <= step <= last:
            found[step] = record
    return dict(sorted(found.items()))


def _line(record: Mapping[str, float]) -> str:
    return json.dumps(with_digest(record)) + "\n"
