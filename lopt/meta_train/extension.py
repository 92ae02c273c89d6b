"""Finished runs that go on with more meta-steps."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lopt.base.atomic import write_atomically
from lopt.base.errors import UserError, user_errors
from lopt.meta.loop import MetaState, MetaTraining, Report
from lopt.runs.lock import only_process
from lopt.runs.workdir import CONFIG, first_difference, saved, writing_to

_LENGTHS = "earlier_lengths"
"""The key of `config.json` with the numbers of meta-steps before each extension."""

Parts = Sequence[tuple[MetaTraining, int]]
"""For each part of a run its meta-training and the step that it reaches; rising."""


def extend(workdir: Path, config: Mapping[str, Any], finished: bool) -> None:
    """Let a folder be the workdir of the same run with more meta-steps.

    `config` is that of the run, but for `outer.steps`. Nothing is done if the run has this length
    already, as when its extension is resumed. A `UserError` if there is no such run, it is longer,
    or it is not finished; as `only_process`.
    """
    found = saved(workdir)
    if found is None:
        raise UserError(f"{workdir} holds no run to extend; leave out --extend to begin one")
    with user_errors(f"{workdir}: its config.json is damaged"):
        old = int(found["config"]["outer"]["steps"])
    steps = config["outer"]["steps"]
    shortened = {**config, "outer": {**config["outer"], "steps": old}}
    difference = first_difference(found["config"], shortened)
    if difference:
        raise UserError(
            f"{workdir} holds a run of another config ({difference}), and an extended one differs "
            "in outer.steps alone; choose that config, or another --workdir without --extend"
        )
    if steps == old:
        return
    if steps < old:
        raise UserError(
            f"the run in {workdir} has {old} meta-steps already; extend it by a larger outer.steps "
            f"than {steps}"
        )
    if not finished:
        raise UserError(
            f"the run in {workdir} has not taken its {old} meta-steps; the same command with "
            f"--config.outer.steps={old} and without --extend takes them"
        )
    with only_process(workdir), writing_to(workdir):
        found = {**found, "config": config, _LENGTHS: [*earlier_lengths(workdir), old]}
        write_atomically(workdir / CONFIG, json.dumps(found, indent=2) + "\n")


def earlier_lengths(workdir: Path) -> list[int]:
    """The numbers of meta-steps that a run had before it was extended; rising."""
    lengths = (saved(workdir) or {}).get(_LENGTHS, [])
    rising = [0, *lengths] if isinstance(lengths, list) else [0, 0]
    if not all(isinstance(n, int) for n in rising) or sorted(set(rising)) != rising:
        raise UserError(f"{workdir}: its config.json is damaged ({_LENGTHS} is {lengths!r})")
    return lengths


def send(parts: Parts, state: MetaState) -> Iterator[tuple[MetaState, Report]]:
    """Meta-steps as of `MetaTraining.send`, each by the part that it belongs to.

    The learning rate of a part follows the length that the run had when it was taken. A run that is
    taken again from an earlier checkpoint goes through the same compiled programs, and comes out
    the same.
    """
    for training, last in parts:
        for state, report in training.send(state, last):  # noqa: B020
            yield state, report
