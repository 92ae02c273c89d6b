"""What an optimizer costs: the time of a step."""

import time
from collections.abc import Mapping

import jax
from jaxtyping import Array

from lopt.compare.runs import Program
from lopt.meta.unroll import Run, step
from lopt.tasks import Task

_PATIENCE = 0.1
"""Seconds that a measurement takes at least: a clock's tick and a switch of threads are less."""

_ROUNDS = 5
"""How often each optimizer is measured; the fastest counts, as all else only slows it down."""

_MOST_STEPS = 10_000
"""Steps of a measurement: those of the smallest models are over before `_PATIENCE` is."""


class StepTimer:
    """Steps of one run in a compiled loop, as a user trains: forward, backward and update."""

    def __init__(self, program: Program):
        """Compile the loop of a program's optimizer."""
        optimizer, run = program.one()
        self._task, self._run = program.runs.task, run
        self._steps = 1

        def loop(task: Task, run: Run, steps: Array) -> Run:
            return jax.lax.fori_loop(0, steps, lambda _, run: step(task, optimizer, run)[0], run)

        self._loop = jax.jit(loop).lower(self._task, run, self._steps).compile()

    def __call__(self) -> float:
        """Milliseconds of a step, measured once, over enough steps to be measured."""
        while True:
            begin = time.perf_counter()
            jax.block_until_ready(self._loop(self._task, self._run, self._steps).params)
            seconds = time.perf_counter() - begin
            if seconds > _PATIENCE or self._steps >= _MOST_STEPS:
                return 1e3 * seconds / self._steps
            wanted = int(self._steps * _PATIENCE / seconds)
            self._steps = min(_MOST_STEPS, max(2 * self._steps, wanted))


def step_times(timers: Mapping[str, StepTimer]) -> dict[str, float]:
    """Milliseconds of a step of each; measured in turns, so that all meet the same machine."""
    rounds = [{name: timer() for name, timer in timers.items()} for _ in range(_ROUNDS)]
    return {name: min(times[name] for times in rounds) for name in timers}
