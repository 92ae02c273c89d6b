"""Leaving a run at a signal, after the step that is under way."""

import signal
from types import FrameType
from typing import Any


class Interruption:
    """Notes SIGTERM and SIGINT in place of dying of them; a context manager.

    Attributes:
      signal: the number of the one that came; None as long as none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> "Interruption":
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
