"""Who takes part in a comparison: an optimizer with a name, and how it is tuned."""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import optax
from jaxtyping import Array

from lopt.base.checks import POSITIVE, TEXT, shown
from lopt.base.errors import UserError, suggest
from lopt.base.parts import build, user_function
from lopt.base.user_defined import is_user_defined
from lopt.compare.baselines import BASELINES, Baseline
from lopt.compare.grid import Budget, Search
from lopt.compare.provenance import own_rate
from lopt.pretrained import PRETRAINED
from lopt.rules import RULES, LearnedOptimizer, load
from lopt.symmetry import PermutationSpec
from lopt.tasks import Task

UNTRAINED = "untrained"
"""The name of the control that is a learned optimizer's rule before meta-training."""

_RATE = 0.01
"""The centre of the grid of a function that says nothing of its learning rate."""

_RATE_OF_RULES = 0.1
"""That of a learned optimizer, whose directions are normalized, that says nothing of it."""


@dataclass(frozen=True)
class Entry:
    """An optimizer in a comparison.

    Attributes:
      name: of its row.
      make: (learning rate, weight decay, task, steps) -> optimizer; the first two are None for
        what the optimizer brings itself.
      search: how it is tuned; None to run it as it is.
      kind: "baseline", "control", "learned", or "own" for a user's.
      identity: plain data that say which optimizer it is.
      schedule: the name of the schedule that it brings itself, if that is known.
    """

    name: str
    make: Callable[[optax.Schedule | None, Array | None, Task, int], optax.GradientTransformation]
    search: Search | None
    kind: str = "own"
    identity: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = ""

    def trials(self, budget: Budget) -> int:
        """How many trials it has on a task."""
        return 1 if self.search is None else budget.trials


def entries(optimizers: Sequence[Any] | Mapping[str, Any]) -> list[Entry]:
    """Optimizers, however they are given, as entries.

    Args:
      optimizers: one or several, as a sequence or a mapping. Each is a name in `BASELINES` or in
        `lopt.pretrained.PRETRAINED`; `"untrained"`; `"module:function"`, or
        `"module:function(argument=value)"` to set arguments that are then not tuned; the file of a
        learned optimizer; a `LearnedOptimizer`; an optax transformation, which is run as it is; a
        function `learning_rate -> transformation`, which is tuned; or a `Entry`. As a mapping
        they have names of their own, otherwise they are called by what they are.

    Returns:
      One for each, but two for a learned optimizer: as it is, and tuned like all others.

    Raises:
      UserError: for a name that is not known, a file that cannot be read, a function that cannot
        be imported, none at all, or two of one name.
    """
    if isinstance(optimizers, Mapping):
        given_as = {
            TEXT("the name of an optimizer", name): given for name, given in optimizers.items()
        }
    else:
        given_as = _named(several("optimizers", "optimizer", optimizers, _is_optimizer))
    named = {name: _file_of(given) for name, given in given_as.items()}
    if not named:
        raise UserError(f"no optimizers to compare; name some of {', '.join(BASELINES)}")
    known = {name: _resolved(given) for name, given in named.items()}
    learned = next((x for x in known.values() if isinstance(x, LearnedOptimizer)), None)
    found: list[Entry] = []
    for name, given in known.items():
        found += _entries(name, given, named[name], learned)
    names = [c.name for c in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two optimizers are called {name!r}; give them names of their own")
    return found


def offered(given: Sequence[Entry], schedules: Sequence[str]) -> tuple[str, ...]:
    """The schedules of a comparison: those given, and those that its optimizers bring themselves.

    An optimizer that is run as it is has no advantage by its schedule then: all that are tuned are
    tried with it.

    Args:
      given: who takes part.
      schedules: names in `lopt.base.schedules.SCHEDULES`.

    Example:
      >>> offered(entries(["adamw", "base"]), ["cosine"])
      ('cosine', 'linear')
    """
    own = [c.schedule for c in given if c.schedule]
    return tuple(dict.fromkeys((*schedules, *own)))


def several(name: str, what: str, given: Any, is_one: Callable[[Any], bool]) -> list[Any]:
    """What is given as a sequence, or as one alone, in a list.

    Raises:
      UserError: if it is neither.
    """
    if is_one(given):
        return [given]
    if not isinstance(given, Iterable):
        raise UserError(
            f"{name} must be a sequence, or a mapping from names, each a {what}; not {shown(given)}"
        )
    return list(given)


def _is_optimizer(given: Any) -> bool:
    kinds = str | Path | LearnedOptimizer | optax.GradientTransformation | Entry
    return isinstance(given, kinds) or callable(given)


def _named(optimizers: Sequence[Any]) -> dict[str, Any]:
    """The optimizers by name: a file has the name of its run, a function its own."""
    files = [Path(x) for x in optimizers if _is_file(x)]
    named: dict[str, Any] = {}
    for given in optimizers:
        if _is_file(given):
            name = "learned" if len(files) == 1 else _name_of(Path(given))
        elif isinstance(given, LearnedOptimizer):
            name = "learned"
        elif isinstance(given, Entry):
            name = given.name
        elif isinstance(given, str):
            name = given.partition(":")[2] or given
        else:
            name = getattr(given, "__name__", type(given).__name__)
        if name in named:
            raise UserError(
                f"two optimizers are called {name!r}; give a mapping from names to optimizers"
            )
        named[name] = given
    return named


def _file_of(given: Any) -> Any:
    """The file of a pretrained optimizer that is given by its name; else what is given."""
    return PRETRAINED.get(given, given) if isinstance(given, str) else given


def _name_of(file: Path) -> str:
    return file.resolve().parent.name if file.stem == "optimizer" else file.stem


def _is_file(given: Any) -> bool:
    if isinstance(given, str):
        return given not in BASELINES and (given.endswith(".safetensors") or Path(given).is_file())
    return isinstance(given, Path)


def _resolved(given: Any) -> Any:
    if _is_file(given):
        return load(given)
    if not isinstance(given, str) or given == UNTRAINED:
        return given
    if given in BASELINES:
        return BASELINES[given]
    if is_user_defined(given):
        return user_function(given)
    raise UserError(
        f"unknown optimizer {given!r}; {suggest(given, (*BASELINES, *PRETRAINED, UNTRAINED))}; or "
        "a file of lopt.save, or module:function"
    )


def _entries(name: str, found: Any, given: Any, learned: LearnedOptimizer | None) -> list[Entry]:
    if isinstance(found, Entry):
        return [replace(found, name=name)]
    if isinstance(found, LearnedOptimizer):
        identity = {"file": str(given), "sha256": _digest(given)} if _is_file(given) else {}
        return _learned(name, found, identity)
    if isinstance(found, str) and found == UNTRAINED:
        return [_untrained(name, learned)]
    if isinstance(found, Baseline):
        kind = "control" if "normalized" in str(given) else "baseline"
        identity = {"baseline": given}
        return [_tuned(name, found.make, found.rate, found.scheduled, kind, identity)]
    if isinstance(found, optax.GradientTransformation):
        return [Entry(name, lambda *_: found, None)]
    if callable(found):
        identity = {"function": given} if isinstance(given, str) else {}
        parameters = inspect.signature(found).parameters
        if "learning_rate" not in parameters:
            make = _called(found)
            return [Entry(name, lambda _, *rest: make(None, *rest), None, "own", identity)]
        default = parameters["learning_rate"].default
        rate = float(default) if POSITIVE.holds(default) else _RATE
        return [_tuned(name, found, rate, True, "own", identity)]
    raise UserError(
        f"{name}: an optimizer must be a name, a file, an optax transformation or a function of "
        f"learning_rate, not {type(found).__name__}"
    )


def _tuned(
    name: str,
    make: Callable[..., optax.GradientTransformation],
    rate: float,
    scheduled: bool,
    kind: str,
    identity: Mapping[str, Any],
) -> Entry:
    decays = "weight_decay" in inspect.signature(make).parameters
    return Entry(name, _called(make), Search(rate, scheduled, decays), kind, identity)


def _called(make: Callable[..., Any]) -> Callable[..., optax.GradientTransformation]:
    """A maker that passes on those of a comparison's arguments that a function has."""
    parameters = inspect.signature(make).parameters

    def made(
        learning_rate: optax.Schedule | None, weight_decay: Array | None, task: Task, steps: int
    ) -> optax.GradientTransformation:
        values = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        arguments = {k: v for k, v in values.items() if v is not None and k in parameters}
        if "spec" in parameters:
            arguments["spec"] = task.spec
        if "total_steps" in parameters:
            arguments["total_steps"] = steps
        found = make(**arguments)
        if not isinstance(found, optax.GradientTransformation):
            raise TypeError(f"made a {type(found).__name__}, not an optax transformation")
        return found

    return made


def _learned(name: str, learned: LearnedOptimizer, identity: Mapping[str, Any]) -> list[Entry]:
    """A learned optimizer at its default, if it has one, and tuned."""
    make = _called(learned.transformation)
    rate = own_rate(learned)
    tuned = Entry(f"{name}, tuned", make, Search(rate or _RATE_OF_RULES), "learned", identity)
    if rate is None:
        return [tuned]
    schedule, _ = learned.default_rate
    return [Entry(name, make, None, "learned", identity, schedule), tuned]


def _untrained(name: str, learned: LearnedOptimizer | None) -> Entry:
    """The rule of the first learned optimizer, or the rule of gates where there is none."""
    rule = build(RULES, "gates") if learned is None else learned.rule

    def make(
        learning_rate: optax.ScalarOrSchedule, spec: PermutationSpec, total_steps: int
    ) -> optax.GradientTransformation:
        theta = rule.init(jax.random.key(0), spec)
        return rule.optimizer(theta, learning_rate, spec, total_steps)

    rate = None if learned is None else own_rate(learned)
    search = Search(rate or _RATE_OF_RULES)
    return Entry(name, _called(make), search, "control", {"untrained": str(rule)})


def _digest(file: str | Path) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
