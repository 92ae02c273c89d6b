"""Compare a learned optimizer with tuned baselines.

python -m lopt.compare --optimizer=runs/quickstart/optimizer.safetensors \
    --workdir=runs/quickstart/report
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import jax
import optax
from absl import flags
from rich.console import Console
from rich.progress import track

from lopt.commands import run
from lopt.compare.baselines import BASELINES, LEARNING_RATES
from lopt.compare.report import markdown, plot, table
from lopt.compare.results import Results
from lopt.compare.trials import Maker, Trial, run_trials
from lopt.errors import UserError
from lopt.meta.workdir import write_atomically
from lopt.parts import build, describe, parse
from lopt.rules import LearnedOptimizer, load
from lopt.schedules import SCHEDULES
from lopt.tasks import MIXTURES, TASKS, Task

_OPTIMIZER = flags.DEFINE_string("optimizer", None, "A file that meta_train.py wrote.")
_TASK = flags.DEFINE_string(
    "task", None, "name or name(argument=value, ...); by default what it was meta-trained on."
)
_STEPS = flags.DEFINE_integer(
    "steps", None, "Training steps; by default as in meta-training.", lower_bound=1
)
_SEEDS = flags.DEFINE_integer("seeds", 16, "Runs of each setting.", lower_bound=1)
_BASELINES = flags.DEFINE_list("baselines", list(BASELINES), "Optimizers to compare with.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the report goes.")
flags.mark_flags_as_required(["optimizer", "workdir"])


def main(argv: Sequence[str]) -> None:
    """Run every setting, and write results.json, report.md and curves.png."""
    del argv
    learned = load(_OPTIMIZER.value)
    baselines = {name: BASELINES[name] for name in _BASELINES.value}
    part = parse(_TASK.value) if _TASK.value else learned.provenance["task"]
    if part["name"] in MIXTURES:
        raise UserError("compare on one task: --task=name, or --task='name(argument=value, ...)'")
    task = build(TASKS, part)
    workdir = Path(_WORKDIR.value)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {workdir}: {error}") from error

    console = Console()
    trials: list[Trial] = []
    for job in track(list(_jobs(task, learned, baselines)), "comparing", console=console):
        trials += job()
    results = Results(describe(part), trials)
    write_atomically(workdir / "results.json", json.dumps(results.to_dict(), indent=1) + "\n")
    plot(results, workdir / "curves.png")
    write_atomically(workdir / "report.md", markdown(results, "curves.png"))
    console.print(table(results))
    for verdict in results.verdicts():
        console.print(verdict)
    console.print(f"wrote {workdir / 'report.md'}, results.json and curves.png")


def _jobs(
    task: Task, learned: LearnedOptimizer, baselines: Mapping[str, Maker]
) -> Iterator[Callable[[], list[Trial]]]:
    """A call for each optimizer and schedule; the learned one runs as it was meta-trained."""
    inner = learned.provenance["inner"]
    steps = _STEPS.value or inner["steps"]

    def make(learning_rate: optax.Schedule) -> optax.GradientTransformation:
        return learned.transformation(learning_rate, task.spec)

    params, _ = jax.eval_shape(task.init, jax.random.key(0))
    jax.eval_shape(make(optax.constant_schedule(0.0)).init, params)
    trial = partial(run_trials, task, steps=steps, seeds=_SEEDS.value)
    rate, schedule = [inner["learning_rate"]], inner["schedule"]
    yield partial(trial, "learned", "learned", make, rate, schedule)
    for (name, baseline), schedule in product(baselines.items(), SCHEDULES):
        yield partial(trial, name, "baseline", baseline, LEARNING_RATES, schedule)


if __name__ == "__main__":
    run(main)
