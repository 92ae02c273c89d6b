"""Compare optimizers, fairly tuned.

python -m lopt.compare --config=configs/compare/small.py --workdir=runs/small
python -m lopt.compare --optimizer=runs/quickstart/optimizer.safetensors \
    --workdir=runs/quickstart/report

The same command resumes a comparison that was interrupted.
"""

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from rich.console import Console

from lopt.base.errors import UserError, suggest, user_errors
from lopt.base.user_defined import trust
from lopt.compare.baselines import BASELINES
from lopt.compare.comparison import compare
from lopt.compare.entries import UNTRAINED
from lopt.compare.provenance import steps_of, tasks_of
from lopt.compare.sentences import verdicts
from lopt.compare.tables import tables
from lopt.rules import load
from lopt.runs.commands import run
from lopt.runs.progress import print_line
from lopt.runs.signals import resumable

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/compare/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where trials and reports go.")
_OPTIMIZER = flags.DEFINE_list("optimizer", [], "Files that meta_train.py or lopt.save wrote.")
_TASK = flags.DEFINE_multi_string(
    "task", [], "name or name(argument=value, ...); by default what it was meta-trained on."
)
_STEPS = flags.DEFINE_integer(
    "steps", None, "Training steps; by default as in meta-training.", lower_bound=1
)
_SEEDS = flags.DEFINE_integer("seeds", 5, "Runs of each setting.", lower_bound=1)
_RATES = flags.DEFINE_integer("rates", 7, "Learning rates of each optimizer.", lower_bound=1)
_BASELINES = flags.DEFINE_list(
    "baselines",
    ["adamw", "sgdm", "muon", "tensor_normalized_adam", UNTRAINED],
    "Optimizers to compare with.",
)
_REFERENCE = flags.DEFINE_string("reference", None, "What speedups refer to; adamw, or the first.")
_TRUST = flags.DEFINE_list(
    "trust", [], "module:function or module:class of yours that the files of optimizers may name."
)
flags.mark_flags_as_required(["workdir"])

_SHORT = ("optimizer", "task", "steps", "seeds", "rates", "baselines", "reference")
_NEEDED = {"optimizers", "tasks", "steps", "seeds"}
_KEYS = {*inspect.signature(compare).parameters} - {"workdir", "console"}

_STEPS_UNLESS_SAID = 1000

_WIDTH = 160  # columns of what is printed where there is no terminal


def main(argv: Sequence[str]) -> None:
    """Compare, and write results.json, report.md and report.html to the workdir."""
    del argv
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    trust(*_TRUST.value)
    plan = _from_config() if _CONFIG.value is not None else _from_flags()
    workdir = Path(_WORKDIR.value or "")
    with resumable("the trials that are done"):
        results = compare(**plan, workdir=workdir, console=console)
        with user_errors(f"{workdir} cannot be written", OSError):
            results.save(workdir)
    console.print(tables(results))
    for sentence in verdicts(results):
        print_line(console, sentence)
    print_line(console, f"wrote {workdir / 'report.html'}, report.md and results.json")


def _from_config() -> dict[str, Any]:
    """The arguments of `compare` from a config file."""
    given = [f"--{name}" for name in _SHORT if flags.FLAGS[name].present]
    if given:
        raise UserError(f"{given[0]} and --config: what one says is in the other; give one of them")
    config = _CONFIG.value
    plan = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    for key in plan:
        if key not in _KEYS:
            raise UserError(f"no key {key!r} in a comparison; {suggest(key, _KEYS)}")
    missing = sorted(_NEEDED - plan.keys())
    if missing:
        raise UserError(f"the config of a comparison needs the key {missing[0]!r}")
    return plan


def _from_flags() -> dict[str, Any]:
    """The arguments of `compare` from the short form."""
    if not _OPTIMIZER.value:
        raise UserError("what is to be compared? give --config=FILE or --optimizer=FILE")
    if not any(_BASELINES.value):
        raise UserError(f"--baselines is empty; name some of {', '.join(BASELINES)}")
    first = load(_OPTIMIZER.value[0])
    return {
        "optimizers": [*_BASELINES.value, *_OPTIMIZER.value],
        "tasks": _TASK.value or tasks_of(first, _OPTIMIZER.value[0]),
        "steps": _STEPS.value or steps_of(first) or _STEPS_UNLESS_SAID,
        "seeds": _SEEDS.value,
        "rates": _RATES.value,
        "reference": _REFERENCE.value or None,
    }


if __name__ == "__main__":
    run(main)
