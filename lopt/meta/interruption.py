"""Leaving a run at a signal, after the step that is under way."""

import signal
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils


class Interruption:
    """Notes SIGTERM and SIGINT in place of dying of them; a context manager.

    Where a run has several processes, jax.distributed notes SIGTERM and passes it on to all of
    them; SIGINT is turned into it.

    Attributes:
      signal: the number of the one that came; None as long as none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._alone = jax.process_count() == 1

    def __enter__(self) -> "Interruption":
        noted = (signal.SIGTERM, signal.SIGINT) if self._alone else (signal.SIGINT,)
        self._before = {s: signal.signal(s, self._note) for s in noted}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reached(self, step: int) -> bool:
        """Whether the run is to be left after this step; all processes agree on the step.

        Args:
          step: to be asked of every step.
        """
        if not self._alone and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
            return True
        return self._alone and self.signal is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        if not self._alone:
            signal.raise_signal(signal.SIGTERM)
