"""The entries of a comparison: each an optimizer with a name, and how it is tuned."""

import hashlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array

from lopt.base.checks import POSITIVE, TEXT, shown
from lopt.base.errors import UserError, suggest
from lopt.base.parts import build, user_function
from lopt.base.user_defined import is_user_defined
from lopt.compare.baselines import BASELINES, Baseline
from lopt.compare.grid import Budget, Search
from lopt.pretrained import PRETRAINED
from lopt.rules import RULES, LearnedOptimizer, load
from lopt.symmetry import PermutationSpec
from lopt.tasks import Task

UNTRAINED = "untrained"
"""The name of the control that is a learned optimizer's rule before meta-training."""

LEARNED, USER_DEFINED = "learned", "own"  # the words of results.json since its first version
"""Kinds of entries beside those of baselines."""

_RATE = 0.01  # the centre for a function that says nothing of its learning rate: that for Adam
_RATE_OF_RULES = 0.1  # for a learned optimizer that names no rate, whose directions are normalized


@dataclass(frozen=True)
class Entry:
    """An optimizer in a comparison.

    Attributes:
      name: of its row.
      make: makes it; takes those of `learning_rate`, `weight_decay`, `spec` and `total_steps` that
        it has as arguments.
      search: how it is tuned; None to run it as it is.
      kind: "baseline", "control", "learned", or "own" for a user-defined one.
      identity: plain data that say which optimizer it is.
      schedule: the name of the schedule that it brings itself, if that is known.
    """

    name: str
    make: Callable[..., optax.GradientTransformation]
    search: Search | None
    kind: str = USER_DEFINED
    identity: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = ""

    def trials(self, budget: Budget) -> int:
        """The number of its trials on a task."""
        return 1 if self.search is None else budget.trials

    def optimizer(
        self,
        learning_rate: optax.Schedule | None,
        weight_decay: Array | None,
        task: Task,
        steps: int,
    ) -> optax.GradientTransformation:
        """The optimizer for a run; a rate and a weight decay that it brings itself are None."""
        values = {
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "spec": task.spec,
            "total_steps": steps,
        }
        has = inspect.signature(self.make).parameters
        made = self.make(**{k: v for k, v in values.items() if v is not None and k in has})
        if not isinstance(made, optax.GradientTransformation):
            raise TypeError(f"made a {type(made).__name__}, not an optax transformation")
        return made


def entries(optimizers: Sequence[Any] | Mapping[str, Any]) -> list[Entry]:
    """Optimizers, however they are given, as entries.

    Args:
      optimizers: one or several, as a sequence or a mapping. Each is a name in `BASELINES` or in
        `lopt.pretrained.PRETRAINED`; `"untrained"`; `"module:function"`, or
        `"module:function(argument=value)"` to set arguments that are then not tuned; the file of a
        learned optimizer; a `LearnedOptimizer`; an optax transformation, which is run as it is; a
        function `learning_rate -> transformation`, which is tuned; or an `Entry`. In a mapping
        they have the names of its keys, otherwise those of what they are.

    Returns:
      One for each, but two for a learned optimizer: as it is, and tuned like all others.

    Raises:
      UserError: for a name that is not known, a file that cannot be read, a function that cannot
        be imported, none at all, or two of one name.
    """
    if isinstance(optimizers, Mapping):
        names = [TEXT("the name of an optimizer", name) for name in optimizers]
        read = [_read(given) for given in optimizers.values()]
    else:
        read = [_read(x) for x in several("optimizers", "optimizer", optimizers, _is_optimizer)]
        files = sum(x.is_file for x in read)
        names = [LEARNED if x.is_file and files == 1 else x.name for x in read]
    if not read:
        raise UserError(f"no optimizers to compare; name some of {', '.join(BASELINES)}")
    learned = (x.optimizer for x in read if isinstance(x.optimizer, LearnedOptimizer))
    untrained = _untrained(next(learned, None))
    read = [untrained if x.optimizer is UNTRAINED else x for x in read]
    pairs = zip(names, read, strict=True)
    found = [entry for name, x in pairs for entry in _entries(name, x.optimizer, x.identity)]
    for name, times in Counter(entry.name for entry in found).items():
        if times > 1:
            raise UserError(
                f"two optimizers are called {name!r}; give a mapping from names to optimizers"
            )
    return found


def offered(given: Sequence[Entry], schedules: Sequence[str]) -> tuple[str, ...]:
    """The schedules of a comparison: those named, and those that its entries bring themselves.

    All that are tuned are tried with them, so that no entry is ahead by its schedule alone.

    >>> offered(entries(["adamw", "base"]), ["cosine"])
    ('cosine', 'linear')
    """
    return tuple(dict.fromkeys((*schedules, *(e.schedule for e in given if e.schedule))))


def several(name: str, what: str, given: Any, is_one: Callable[[Any], bool]) -> list[Any]:
    """A list of what is given as a sequence, or as one alone; a `UserError` for anything else."""
    if is_one(given):
        return [given]
    if not isinstance(given, Iterable):
        raise UserError(
            f"{name} must be a sequence, or a mapping from names, each a {what}; not {shown(given)}"
        )
    return list(given)


class _Read(NamedTuple):
    """An optimizer whose name was looked up and whose file was read."""

    name: str  # unless it is given another
    optimizer: Any  # an `Entry`, a `Baseline`, a `LearnedOptimizer`, or what the user gave
    identity: Mapping[str, Any] = {}
    is_file: bool = False  # and so is called "learned" if it is the only one


def _is_optimizer(given: Any) -> bool:
    kinds = str | Path | LearnedOptimizer | optax.GradientTransformation | Entry
    return isinstance(given, kinds) or callable(given)


def _read(given: Any) -> _Read:
    match given:
        case Entry():
            return _Read(given.name, given)
        case LearnedOptimizer():
            return _Read(LEARNED, given)
        # Names come before files: what lies in the folder must not change the meaning of "adamw".
        case str() if given == UNTRAINED:
            return _Read(UNTRAINED, UNTRAINED)
        case str() if given in BASELINES:
            return _Read(given, BASELINES[given], {"baseline": given})
        case str() if given in PRETRAINED:
            return _Read(given, *_of_file(PRETRAINED[given]))
        case str() | Path() if str(given).endswith(".safetensors") or Path(given).is_file():
            # meta_train.py calls every file so: what tells runs apart is the name of the folder.
            file = Path(given)
            name = file.resolve().parent.name if file.stem == "optimizer" else file.stem
            return _Read(name, *_of_file(given), is_file=True)
        case str() if is_user_defined(given):
            return _Read(given.partition(":")[2], user_function(given), {"function": given})
        case str() | Path():
            names = suggest(str(given), (*BASELINES, *PRETRAINED, UNTRAINED))
            raise UserError(
                f"unknown optimizer {str(given)!r}; {names}; or a file of lopt.save, or "
                "module:function"
            )
    return _Read(getattr(given, "__name__", type(given).__name__), given)


def _of_file(file: str | Path) -> tuple[LearnedOptimizer, dict[str, str]]:
    learned = load(file)
    digest = hashlib.sha256(Path(file).expanduser().read_bytes()).hexdigest()
    return learned, {"file": str(file), "sha256": digest}


def _untrained(learned: LearnedOptimizer | None) -> _Read:
    """The rule of the first learned optimizer, or the rotated rule where there is none."""
    rule = build(RULES, "rotated") if learned is None else learned.rule

    def make(
        learning_rate: optax.ScalarOrSchedule, spec: PermutationSpec, total_steps: int
    ) -> optax.GradientTransformation:
        theta = rule.init(jax.random.key(0), spec)
        return rule.optimizer(theta, learning_rate, spec, total_steps)

    rate = None if learned is None else learned.learning_rate
    baseline = Baseline(make, rate or _RATE_OF_RULES, kind="control")
    return _Read(UNTRAINED, baseline, {"untrained": str(rule)})


def _entries(name: str, optimizer: Any, identity: Mapping[str, Any]) -> list[Entry]:
    match optimizer:
        case Entry():
            return [replace(optimizer, name=name)]
        case Baseline():
            return [_tuned(name, optimizer, identity)]
        case LearnedOptimizer():
            return _learned(name, optimizer, identity)
        case optax.GradientTransformation():
            return [Entry(name, lambda: optimizer, None)]
    if not callable(optimizer):
        raise UserError(
            f"{name}: an optimizer must be a name, a file, an optax transformation or a function "
            f"of learning_rate, not {type(optimizer).__name__}"
        )
    parameters = inspect.signature(optimizer).parameters
    if "learning_rate" not in parameters:
        return [Entry(name, optimizer, None, identity=identity)]
    default = parameters["learning_rate"].default
    rate = float(default) if POSITIVE.holds(default) else _RATE
    return [_tuned(name, Baseline(optimizer, rate, kind=USER_DEFINED), identity)]


def _tuned(name: str, baseline: Baseline, identity: Mapping[str, Any]) -> Entry:
    decays = "weight_decay" in inspect.signature(baseline.make).parameters
    search = Search(baseline.rate, baseline.scheduled, decays)
    return Entry(name, baseline.make, search, baseline.kind, identity)


def _learned(name: str, learned: LearnedOptimizer, identity: Mapping[str, Any]) -> list[Entry]:
    """A learned optimizer at its default, if it has one, and tuned."""
    make, rate = learned.transformation, learned.learning_rate
    tuned = Entry(f"{name}, tuned", make, Search(rate or _RATE_OF_RULES), LEARNED, identity)
    if rate is None:
        return [tuned]
    return [Entry(name, make, None, LEARNED, identity, learned.schedule), tuned]
