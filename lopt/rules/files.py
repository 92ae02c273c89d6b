"""Learned optimizers as safetensors files: theta, its rule, and where it comes from."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, PyTree
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lopt.errors import UserError
from lopt.parts import build
from lopt.rules.registry import RULES, name_of
from lopt.rules.rule import Rule
from lopt.schedules import SCHEDULES
from lopt.symmetry import Axes, PermutationSpec, SpecError
from lopt.symmetry.spec import require_spec

_FORMAT = 2

_KEY = "lopt.optimizer"
"""The one metadata key: safetensors writes several in any order, each time another."""


@dataclass(frozen=True)
class LearnedOptimizer:
    """What a file of a learned optimizer holds.

    Attributes:
      rule: the update rule.
      theta: its meta-parameters.
      spec: the weight space that theta is tied to; None if it fits any.
      provenance: how it was made: task, meta-steps, meta-loss, versions, in plain data.
    """

    rule: Rule
    theta: PyTree[Array]
    spec: PermutationSpec | None
    provenance: Mapping[str, Any]

    def transformation(
        self,
        learning_rate: optax.ScalarOrSchedule | None = None,
        spec: PermutationSpec | None = None,
        total_steps: int | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        """The optax transformation.

        Args:
          learning_rate: a number or an optax schedule; by default the rate that theta was
            meta-trained with, on its schedule over `total_steps`.
          spec: the neuron groups of the params. A rule with relational layers needs it; one tied
            to an architecture brings its own; one of gates is better with it.
          total_steps: the length of the run. A rule of gates needs it, and so does the default
            learning rate.

        Raises:
          UserError: if a spec or the length of the run is needed and not given, or the file does
            not say which learning rate theta was meta-trained with.
          SpecError: if theta is tied to another weight space; the first path that differs is
            named. The same is raised by `init` for params that do not fit the spec.
        """
        if self.spec is not None and spec is not None:
            _require_same(self.spec, require_spec(spec))
        if learning_rate is None:
            learning_rate = self._scheduled(total_steps)
        return self.rule.optimizer(self.theta, learning_rate, self.spec or spec, total_steps)

    def _scheduled(self, total_steps: int | None) -> optax.Schedule:
        inner = self.provenance.get("inner")
        if inner is None:
            raise UserError("this optimizer does not say which learning rate it is for: pass one")
        if total_steps is None:
            raise UserError("the default learning rate follows the run's length: pass total_steps")
        return SCHEDULES[inner["schedule"]](inner["learning_rate"], total_steps)


def save(path: str | os.PathLike, learned: LearnedOptimizer) -> None:
    """Write a learned optimizer to a `.safetensors` file, all of it or nothing.

    Its metadata hold the rule, the provenance, and the spec if theta is tied to one, as JSON.

    Raises:
      UserError: if theta is tied to params that are not dicts within dicts.
    """
    path = Path(path)
    spec = None if learned.spec is None else learned.spec.to_json()
    if spec is not None and PermutationSpec.from_json(spec) != learned.spec:
        raise UserError(
            "theta of a rule with exact layers can be saved for params that are dicts within "
            "dicts; make them such, or let the rule's layers be relational or pointwise"
        )
    tensors = {k: np.asarray(v) for k, v in flatten_dict(learned.theta, sep="/").items()}
    contents = {
        "format": _FORMAT,
        "rule": {"name": name_of(learned.rule), **dataclasses.asdict(learned.rule)},
        "spec": spec,
        "provenance": learned.provenance,
    }
    metadata = {_KEY: json.dumps(contents)}
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata)
    os.replace(partial, path)


def load(path: str | os.PathLike) -> LearnedOptimizer:
    """Read a learned optimizer from its file.

    Raises:
      UserError: if the file is missing, damaged, or not one that `save` wrote.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no optimizer file {str(path)!r}; meta_train.py writes one")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{str(path)!r} is damaged or no safetensors file: {error}") from error
    if _KEY not in metadata:
        raise UserError(
            f"{str(path)!r} holds no learned optimizer; meta_train.py and lopt.save write one"
        )
    contents = json.loads(metadata[_KEY])
    if contents["format"] != _FORMAT:
        raise UserError(
            f"{str(path)!r} is of format {contents['format']} and this version reads {_FORMAT}; "
            "install the version of lopt that wrote it"
        )
    rule = build(RULES, contents["rule"])
    spec = None if contents["spec"] is None else PermutationSpec.from_json(contents["spec"])
    theta = jax.tree.map(jax.numpy.asarray, unflatten_dict(tensors, sep="/"))
    _require_theta_of(rule, spec, theta, path)
    return LearnedOptimizer(rule, theta, spec, contents["provenance"])


def optimizer(
    path: str | os.PathLike,
    learning_rate: optax.ScalarOrSchedule | None = None,
    spec: PermutationSpec | None = None,
    total_steps: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """A learned optimizer from its file, as an optax transformation.

    Args:
      path: a file that `meta_train.py` or `lopt.save` wrote.
      learning_rate: a number or an optax schedule; by default the rate that theta was meta-trained
        with, on its schedule over `total_steps`.
      spec: the neuron groups of the params, `lopt.infer_spec(loss, params, batch)`; not needed
        for a rule that is pointwise or tied to one architecture.
      total_steps: the length of the run.

    Returns:
      A transformation whose `update` needs the params, as that of `optax.adamw`.

    Raises:
      UserError: as `load` and `LearnedOptimizer.transformation`.
    """
    return load(path).transformation(learning_rate, spec, total_steps)


def _require_theta_of(
    rule: Rule, spec: PermutationSpec | None, theta: PyTree[Array], path: Path
) -> None:
    any_space = PermutationSpec({"x": Axes("x")}, {"x": 1})
    expected = jax.eval_shape(lambda key: rule.init(key, spec or any_space), jax.random.key(0))
    expected = {k: v.shape for k, v in flatten_dict(expected, sep="/").items()}
    found = {k: v.shape for k, v in flatten_dict(theta, sep="/").items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UserError(
                f"{str(path)!r} does not hold the theta of its rule: {name} has shape "
                f"{found.get(name)} and should have {expected.get(name)}"
            )


def _require_same(tied: PermutationSpec, spec: PermutationSpec) -> None:
    tied.validate(jax.tree.map(lambda a: jax.ShapeDtypeStruct(spec.shape(a), float), spec.axes))
    if tied != spec:
        raise SpecError(
            "theta is tied to a weight space of the same shapes and other neuron groups; use a "
            "relational rule, or meta-train on this architecture"
        )
