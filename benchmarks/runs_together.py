"""How much faster training runs are together than alone, as `lopt.compare` takes them.

python benchmarks/runs_together.py --task="rnn(widths=(32,), length=16)" --together=1,3,21

Prints a JSON line for each number of runs at a time: the time of a step of one run, over that of a
run alone.
"""

import json
import time

import optax
from absl import app, flags

from lopt.base.parts import build
from lopt.compare.runs import Program, Runs
from lopt.compare.trials import Setting
from lopt.tasks import TASKS

_TASK = flags.DEFINE_string("task", "mlp", "The task that is trained.")
_STEPS = flags.DEFINE_integer("steps", 100, "Steps of a run.")
_TOGETHER = flags.DEFINE_list("together", ["1", "3", "21"], "Runs at a time.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Measurements, of which the fastest counts.")

SETTING = Setting(1e-3, "cosine")


def milliseconds(together: int) -> float:
    """The time of a step of one run, if `together` runs are trained at a time."""
    task = build(TASKS, _TASK.value)
    of_task = Runs(task, _STEPS.value, seeds=together)
    program = Program(of_task, lambda rate, decay: optax.adam(rate), [SETTING], room=2**40)
    program.compile()
    times = []
    for _ in range(1 + _REPEATS.value):
        begin = time.perf_counter()
        list(program([SETTING]))
        times.append(time.perf_counter() - begin)
    return 1e3 * min(times[1:]) / (together * _STEPS.value)


def main(argv: list[str]) -> None:
    """Measure each number of runs."""
    del argv
    alone = milliseconds(1)
    for together in map(int, _TOGETHER.value):
        found = alone if together == 1 else milliseconds(together)
        line = {"task": _TASK.value, "together": together, "ms": found, "ratio": found / alone}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    app.run(main)
