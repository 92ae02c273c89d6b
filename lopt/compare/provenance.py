"""What a learned optimizer's file says of its meta-training, which is not to be trusted."""

import math
from collections.abc import Mapping
from typing import Any

from lopt.base.checks import integer
from lopt.base.errors import UserError
from lopt.base.parts import describe, parse
from lopt.base.untrusted import require_modest
from lopt.rules import LearnedOptimizer
from lopt.tasks import MIXTURES, Task, build_untrusted

_STEPS = integer(1, 10**6)
"""Steps of a run that a file may ask for."""


_MOST_TASKS = 16
"""Tasks that a file may name."""


def own_tasks(learned: LearnedOptimizer, file: str) -> dict[str, Task]:
    """The tasks of a learned optimizer's meta-training, by their texts.

    Args:
      learned: what the file holds.
      file: its name, for the message.

    Raises:
      UserError: if it does not say; as `lopt.tasks.build_untrusted`.
    """
    part = learned.provenance.get("task")
    part = parse(part) if isinstance(part, str) else part
    if not _has_name(part):
        raise _unsaid(file)
    parts = part.get("tasks") if part["name"] in MIXTURES else [part]
    if not isinstance(parts, list | tuple) or not parts:
        raise _unsaid(file)
    if len(parts) > _MOST_TASKS:
        raise UserError(
            f"{file} says that it was meta-trained on {len(parts):,} tasks, and a file may name "
            f"{_MOST_TASKS}; give some with --task=name"
        )
    if not all(isinstance(own, str) or _has_name(own) for own in parts):
        raise _unsaid(file)
    for own in parts:
        require_modest(own)
    return {describe(own): build_untrusted(own) for own in parts}


def own_steps(learned: LearnedOptimizer) -> int | None:
    """The steps of a run in a learned optimizer's meta-training; None if it does not say."""
    inner = learned.provenance.get("inner")
    steps = inner.get("steps") if isinstance(inner, Mapping) else None
    return steps if _STEPS.holds(steps) else None


def own_rate(learned: LearnedOptimizer) -> float | None:
    """The learning rate that it has by default; None if it does not say."""
    _, rate = learned.default_rate or ("", 0.0)
    return float(rate) if 0 < rate < math.inf else None


def _has_name(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("name"), str)


def _unsaid(file: str) -> UserError:
    return UserError(
        f"{file} does not say what it was meta-trained on; give --task=name, or "
        "--task='name(argument=value, ...)'"
    )
