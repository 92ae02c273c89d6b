"""The meta-training that a learned optimizer's file tells of, which is not to be trusted."""

from collections.abc import Mapping
from typing import Any

from lopt.base.checks import integer
from lopt.base.errors import UserError
from lopt.base.parts import describe, parse
from lopt.base.untrusted import require_modest
from lopt.rules import LearnedOptimizer
from lopt.tasks import MIXTURES, Task, build_untrusted

_STEPS = integer(1, 10**6)  # of a run, as many as a file may ask for
_MOST_TASKS = 16  # that a file may name: each is built, and its data read, before any is trained


def tasks_of(learned: LearnedOptimizer, file: str) -> dict[str, Task]:
    """The tasks of a learned optimizer's meta-training, by their texts.

    A file that does not say them raises a `UserError`, as what `build_untrusted` refuses.
    """
    part = learned.provenance.get("task")
    part = parse(part) if isinstance(part, str) else part
    parts: Any = [part]
    if isinstance(part, Mapping) and part.get("name") in [*MIXTURES]:
        parts = part.get("tasks")
    if not isinstance(parts, list | tuple) or not parts or not all(map(_is_part, parts)):
        raise UserError(
            f"{file} does not say what it was meta-trained on; give --task=name, or "
            "--task='name(argument=value, ...)'"
        )
    if len(parts) > _MOST_TASKS:
        raise UserError(
            f"{file} says that it was meta-trained on {len(parts):,} tasks, and a file may name "
            f"{_MOST_TASKS}; give some with --task=name"
        )
    for part in parts:
        require_modest(part)
    return {describe(part): build_untrusted(part) for part in parts}


def steps_of(learned: LearnedOptimizer) -> int | None:
    """The steps of a run in a learned optimizer's meta-training; None if it does not say."""
    inner = learned.provenance.get("inner")
    steps = inner.get("steps") if isinstance(inner, Mapping) else None
    return steps if _STEPS.holds(steps) else None


def _is_part(part: Any) -> bool:
    return isinstance(part, str) or (
        isinstance(part, Mapping) and isinstance(part.get("name"), str)
    )
