"""Tasks of different shapes, for rules whose theta fits all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lopt.base.checks import POSITIVE, sequence
from lopt.base.errors import UserError
from lopt.base.parts import Parts, build, describe, parse
from lopt.tasks.registry import TASKS
from lopt.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Mixture:
    """Tasks that one theta is meta-trained on, each with its particles and compiled steps.

    Their shapes differ, so that they do not vmap together: the meta-gradient is the weighted sum
    of those of the tasks.

    Attributes:
      names: the text of each task.
      tasks: the tasks, families among them.
      weights: of their meta-losses; they sum to one.
    """

    names: tuple[str, ...]
    tasks: tuple[Task, ...]
    weights: tuple[float, ...]


def mixture(
    tasks: Sequence[str | Mapping[str, Any]], weights: Sequence[float] | None = None
) -> Mixture:
    """A mixture of tasks by name.

    Args:
      tasks: texts such as `"mlp(widths=(64,))"`, or configs.
      weights: of their meta-losses, up to a factor; equal by default.

    Raises:
      UserError: for an unknown task, anything but one or more tasks, or weights that do not fit.

    Example:
      >>> mixture(("mlp", "quadratic"), weights=(3, 1)).weights
      (0.75, 0.25)
    """
    if not isinstance(tasks, list | tuple) or not tasks:
        raise UserError(f"mixture: tasks must be a sequence of one or more tasks, not {tasks!r}")
    weights = (1,) * len(tasks) if weights is None else weights
    weights = sequence(POSITIVE)("mixture: weights", weights)
    if len(weights) != len(tasks):
        raise UserError(
            f"mixture: {len(weights)} weights and {len(tasks)} tasks; give one for each"
        )
    built = tuple(build(TASKS, task) for task in tasks)
    names = tuple(describe(task) for task in tasks)
    return Mixture(names, built, tuple(w / sum(weights) for w in weights))


MIXTURES = Parts("mixture", Mixture, mixture=mixture)
"""The mixtures that a config can name in place of a task."""


def build_mixture(part: str | Mapping[str, Any]) -> Mixture:
    """The mixture that a config names; of a single task, if it names that.

    Args:
      part: the text or config of a mixture or of a task.

    Raises:
      UserError: as `mixture`, and as the task's function.

    Example:
      >>> build_mixture("mlp(widths=(4,))").weights
      (1.0,)
    """
    name = (parse(part) if isinstance(part, str) else part).get("name")
    return build(MIXTURES, part) if name in MIXTURES else mixture((part,))
