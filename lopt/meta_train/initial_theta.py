"""The theta of a file, which meta-training can start from."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lopt.base.digested import digest_of
from lopt.base.errors import UserError
from lopt.base.parts import describe
from lopt.meta.estimator import Theta
from lopt.rules import RULES, LearnedOptimizer, Rule, load
from lopt.symmetry import PermutationSpec
from lopt.symmetry.paths import leaves_with_path, name_of


def load_for(name_or_path: str, rule: Rule, spec: PermutationSpec) -> LearnedOptimizer:
    """Load an optimizer; raises as `lopt.load`, and if theta is of another rule or architecture.

    >>> from lopt.rules import RotatedRule
    >>> spec = PermutationSpec({}, {})
    >>> load_for("base", RotatedRule(width=4), spec)
    Traceback (most recent call last):
        ...
    lopt.base.errors.UserError: base holds theta of another rule than the config's: give ...
    """
    learned = load(name_or_path)
    if _given(learned.rule) != _given(rule):
        raise UserError(
            f"{name_or_path} holds theta of another rule than the config's: give "
            f'--config.rule="{describe(_given(learned.rule))}"'
        )
    if learned.spec is not None and learned.spec != spec:
        raise UserError(
            f"theta of {name_or_path} is tied to another architecture than that of the task"
        )
    return learned


def as_types_of(like: Theta, theta: Theta) -> Theta:
    """A theta with the types that another has, such as those of 64 bits."""
    return jax.tree.map(lambda x, given: jnp.asarray(given, x.dtype), like, theta)


def theta_digest(theta: Theta) -> str:
    """SHA-256 of a theta, with the names of its arrays."""
    return digest_of({name_of(path): np.asarray(x) for path, x in leaves_with_path(theta)}, {})


def _given(rule: Any) -> dict[str, Any]:
    """A rule's name and the arguments that differ from their defaults, as they are in a file."""
    values = {f.name: _as_lists(getattr(rule, f.name)) for f in dataclasses.fields(rule)}
    defaults = {f.name: _as_lists(f.default) for f in dataclasses.fields(rule)}
    return {"name": RULES.name_of(rule)} | {k: v for k, v in values.items() if v != defaults[k]}


def _as_lists(value: Any) -> Any:
    return [*map(_as_lists, value)] if isinstance(value, list | tuple) else value
