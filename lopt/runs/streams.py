"""Standard output and errors of a command, which are no reason to end its work."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Let nothing that is printed end the work; a context manager.

    Where standard output can no longer be written, because its reader is gone or its disk is full,
    one line on standard error says so, and the rest of it is dropped. Letters that its encoding
    does not have are printed as question marks. Streams that are closed take anything.
    """
    before = sys.stdout, sys.stderr
    sys.stdout = Lasting(before[0], "standard output")  # type: ignore[assignment]
    sys.stderr = Lasting(before[1], "standard error")  # type: ignore[assignment]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


class Lasting:
    """A stream of text whose errors end nothing; all else is as in the stream itself."""

    def __init__(self, stream: TextIO | None, name: str):
        """Take the place of a stream, None if it is closed, whose name is said in errors."""
        self._stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115
        self._name = name
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Let the stream's file be one that takes anything, also what the stream still holds."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        with suppress(OSError):
            self._stream.flush()
        reason = error.strerror or error
        print(
            f"{self._name} can no longer be written ({reason}); the work goes on without it",
            file=sys.stderr,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
