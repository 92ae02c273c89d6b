"""How far a run is: a bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from lopt.base.printed import printable

_COMPILING = "compiling"


class Progress:
    """Shows how far a run is; a context manager.

    Attributes:
      interval: seconds between two updates of the bar, or two lines of a log.
    """

    def __init__(self, done: int, steps: int):
        """See the class.

        Args:
          done: steps taken before.
          steps: in all.
        """
        self._done, self._steps = done, steps
        self._bar = Bar(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            TimeRemainingColumn(),
            expand=True,
        )
        self._on_terminal = self._bar.console.is_terminal
        self.interval = 0.2 if self._on_terminal else 30.0
        self._first: tuple[int, float] | None = None
        self._shown = -self.interval

    def __enter__(self) -> "Progress":
        if self._on_terminal:
            self._bar.start()
            self._row = self._bar.add_task(_COMPILING, total=self._steps, completed=self._done)
        else:
            self._print(self._done, _COMPILING)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._on_terminal:
            self._bar.stop()

    def __call__(self, step: int, words: Callable[[], str]) -> bool:
        """Show a step, if it is the last or enough time has passed.

        Args:
          step: steps taken.
          words: makes what is said of it.

        Returns:
          Whether it was shown.
        """
        now = time.monotonic()
        self._first = self._first or (step, now)
        if now - self._shown < self.interval and step != self._steps:
            return False
        self._shown = now
        if self._on_terminal:
            self._bar.update(self._row, completed=step, description=printable(words()))
        else:
            self._print(step, f"{words()} {self._remaining(step, now)}")
        return True

    def _remaining(self, step: int, now: float) -> str:
        """The time left at the rate since the first step, which was compiled before."""
        first, then = self._first
        if step == first < self._steps:
            return "-:--:--"
        seconds = (now - then) / max(step - first, 1) * (self._steps - step)
        return str(timedelta(seconds=round(seconds)))

    def _print(self, step: int, words: str) -> None:
        print(f"{step}/{self._steps} {printable(words)}", flush=True)
