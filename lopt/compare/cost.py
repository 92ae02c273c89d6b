"""The time that a step of an optimizer takes."""

import time
from collections.abc import Callable, Mapping

import jax
from jaxtyping import Array

from lopt.compare.runs import Program
from lopt.meta.unroll import Run, step
from lopt.tasks import Task

_PATIENCE = 0.1  # seconds that are measured: a clock's tick and a switch of threads are less
_ROUNDS = 5  # the fastest counts, as all else only slows a step down
_MOST_STEPS = 10_000  # of a measurement, for the smallest models

Timer = Callable[[], float]  # measures the milliseconds of a step, once


def step_timer(program: Program) -> Timer:
    """Compile steps of one run in a loop, as a user trains: forward, backward and update."""
    optimizer, first = program.one()
    task, steps = program.runs.task, 1

    def loop(task: Task, run: Run, steps: Array) -> Run:
        return jax.lax.fori_loop(0, steps, lambda _, run: step(task, optimizer, run)[0], run)

    compiled = jax.jit(loop).lower(task, first, steps).compile()

    def measure() -> float:
        nonlocal steps
        while True:
            begin = time.perf_counter()
            jax.block_until_ready(compiled(task, first, steps).params)
            seconds = time.perf_counter() - begin
            if seconds > _PATIENCE or steps >= _MOST_STEPS:
                return 1e3 * seconds / steps
            steps = min(_MOST_STEPS, max(2 * steps, int(steps * _PATIENCE / seconds)))

    return measure


def step_times(timers: Mapping[str, Timer]) -> dict[str, float]:
    """Milliseconds of a step of each; measured in turns, so that all meet the same machine."""
    rounds = [{name: timer() for name, timer in timers.items()} for _ in range(_ROUNDS)]
    return {name: min(times[name] for times in rounds) for name in timers}
