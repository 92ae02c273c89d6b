"""Finished runs that go on with more meta-steps."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lopt.base.atomic import write_atomically
from lopt.base.errors import UserError
from lopt.meta.loop import MetaState, MetaTraining, Report
from lopt.runs.lock import only_process
from lopt.runs.workdir import CONFIG, first_difference, saved, writing_to

_LENGTHS = "earlier_lengths"
"""Where `config.json` keeps how many meta-steps the run had before it was extended."""


def extend(workdir: Path, config: Mapping[str, Any], finished: bool) -> None:
    """Let a folder be the workdir of the same run with more meta-steps.

    Nothing is done for a run that has this length already, as when its extension is resumed.

    Args:
      workdir: of the run.
      config: that of the run, but for `outer.steps`.
      finished: whether the run has left its optimizer there.

    Raises:
      UserError: if there is no run, it differs in something else, it is as long or longer, it is
        not finished, or the folder is in use or cannot be written.
    """
    found = saved(workdir)
    if found is None:
        raise UserError(f"{workdir} holds no run to extend; leave out --extend to begin one")
    old, steps = _steps(found["config"]), config["outer"]["steps"]
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
    """How many meta-steps a run had before each time that it was extended; rising.

    Raises:
      UserError: if the workdir's `config.json` is damaged.
    """
    lengths = (saved(workdir) or {}).get(_LENGTHS, [])
    rising = [0, *lengths] if isinstance(lengths, list) else [0, 0]
    if not all(isinstance(n, int) for n in rising) or sorted(set(rising)) != rising:
        raise UserError(f"{workdir}: its config.json is damaged ({_LENGTHS} is {lengths!r})")
    return lengths


class Extended:
    """Meta-training in parts, each as it was when the run was as long as this part reaches.

    The learning rate of a part follows the length that the run had then. A run that is taken again
    from an earlier checkpoint goes through the same compiled programs, and comes out the same.
    """

    def __init__(self, parts: Sequence[tuple[MetaTraining, int]]):
        """See the class.

        Args:
          parts: what takes the meta-steps of each, and the step that it reaches; rising.
        """
        self._parts = tuple(parts)

    def send(self, state: MetaState, steps: int) -> Iterator[tuple[MetaState, Report]]:
        """As `MetaTraining.send`, by the parts that are due."""
        for training, last in self._parts:
            for taken in training.send(state, min(last, steps)):
                state = taken[0]
                yield taken


def _steps(config: Any) -> int:
    try:
        return int(config["outer"]["steps"])
    except (TypeError, KeyError, ValueError):
        raise UserError("the workdir's config.json is damaged: it has no outer.steps") from None
