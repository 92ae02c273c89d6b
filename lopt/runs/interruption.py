"""Leaving a run at a signal, after the step that is under way."""

import os
import signal
import time
from contextlib import ExitStack
from typing import Any

import jax
from jax.experimental import multihost_utils

from lopt.runs.signals import handled, leave

_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

_SAME = 1.0
"""Seconds within which a signal that comes again is the same: `timeout` and SLURM send two."""


class Interruption:
    """Notes SIGTERM, SIGINT, SIGHUP and SIGQUIT in place of dying of them; a context manager.

    A second signal ends the process at once. Where a run has several processes, jax.distributed
    notes SIGTERM and passes it on to all of them; the others are turned into it.

    Attributes:
      signal: the number of the one that came; None as long as none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._alone = jax.process_count() == 1
        self._stack = ExitStack()

    def __enter__(self) -> "Interruption":
        noted = (*_SIGNALS, signal.SIGTERM) if self._alone else _SIGNALS
        self._stack.enter_context(handled(noted, self._note))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()

    def reached(self, step: int) -> bool:
        """Whether the run is to be left after this step; all processes agree on the step.

        Args:
          step: to be asked of every step.
        """
        if not self._alone and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
            return True
        return self._alone and self.signal is not None

    def _note(self, number: int) -> None:
        if self.signal is None:
            self.signal, self._when = number, time.monotonic()
            if not self._alone:
                os.kill(os.getpid(), signal.SIGTERM)
        elif time.monotonic() > self._when + _SAME:
            leave(128 + number)
