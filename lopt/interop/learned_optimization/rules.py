"""A rule of this package as a learned optimizer of the external library."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.struct
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.base.schedules import scale_over_run
from lopt.interop.learned_optimization.library import imported
from lopt.pretrained import PRETRAINED
from lopt.rules import RULES, LearnedOptimizer, Rule, load
from lopt.rules.rule import Theta
from lopt.symmetry import Axes, PermutationSpec
from lopt.tasks.task import Params


def as_learned_optimizer(
    rule: Rule | LearnedOptimizer | str | os.PathLike,
    learning_rate: optax.ScalarOrSchedule | None = None,
    schedule: str = "constant",
    spec: PermutationSpec | None = None,
) -> Any:
    """A rule as a `LearnedOptimizer` of the external library.

    Its `init(key)` gives fresh meta-parameters, or those of a file, and `opt_fn(theta)` an
    external `Optimizer`, whose `init` gets the model's state and the length of the run as
    `num_steps`, and whose `update` the loss. The library's truncated steps, estimators and
    evaluators take it as any other.

    Args:
      rule: a rule, or its text such as `"rotated(width=4)"`; a file of `lopt.save` or
        `meta_train.py`, or what it holds; a name in `lopt.pretrained.PRETRAINED`.
      learning_rate: a number, or an optax schedule. By default that of a file, on
        the file's schedule.
      schedule: a name in `lopt.base.schedules.SCHEDULES` that a number follows over `num_steps`.
      spec: the neuron groups of the params, such as `task_from(external_task).spec`, which a rule
        with relational or exact layers needs.

    Returns:
      An instance of `learned_optimization.learned_optimizers.base.LearnedOptimizer`.

    Raises:
      UserError: if the library is missing, a rule comes without a learning rate, or one that is
        tied to an architecture without a spec; as `lopt.load`.

    Example:
      >>> import jax
      >>> learned = as_learned_optimizer("base")
      >>> opt = learned.opt_fn(learned.init(jax.random.PRNGKey(0)))
      >>> state = opt.init({"w": jnp.ones((3, 2))}, num_steps=100)
      >>> state = opt.update(state, {"w": jnp.ones((3, 2))}, loss=jnp.float32(1.0))
      >>> opt.get_params(state)["w"].shape
      (3, 2)
    """
    base = imported("learned_optimizers.base").LearnedOptimizer
    learned = _learned(rule, spec)
    optimizer = _optimizer_class(learned, _scale(learned, learning_rate, schedule))
    any_space = PermutationSpec({"x": Axes("x")}, {"x": 1})

    class Learned(base):  # type: ignore[misc, valid-type]
        """The rule."""

        def init(self, key: Array) -> Theta:
            """Meta-parameters that meta-training begins with."""
            if learned.theta is not None:
                return learned.theta
            return learned.rule.init(key, learned.spec or any_space)

        def opt_fn(self, theta: Theta, is_training: bool = False) -> Any:
            """The optimizer at some meta-parameters."""
            return optimizer(theta)

        @property
        def name(self) -> str:
            """Of the rule, for the library's summaries."""
            return _name(learned)

    return Learned()


def _optimizer_class(learned: LearnedOptimizer, scale: optax.GradientTransformation) -> type:
    """The rule as a subclass of the library's `Optimizer`, made from meta-parameters."""

    class Optimizer(imported("optimizers.base").Optimizer):  # type: ignore[misc]
        """The rule at some meta-parameters."""

        def __init__(self, theta: Theta):
            found = learned.rule.scale_by_rule(theta, learned.spec)
            self._transformation = optax.chain(found, scale)

        def init(
            self,
            params: Params,
            model_state: Any = None,
            num_steps: int | None = None,
            key: Array | None = None,
            **kwargs: Any,
        ) -> ExternalRun:
            """The state before the first step; `num_steps` may be traced."""
            steps = None if num_steps is None else jnp.asarray(num_steps, jnp.int32)
            inner = self._transformation.init(params)
            return ExternalRun(params, model_state, inner, jnp.zeros((), jnp.int32), steps)

        def update(
            self,
            opt_state: ExternalRun,
            grad: PyTree[Array],
            loss: Array | None = None,
            model_state: Any = None,
            key: Array | None = None,
            **kwargs: Any,
        ) -> ExternalRun:
            """The state after a step."""
            params, steps = opt_state.params, opt_state.num_steps
            updates, inner = self._transformation.update(
                grad, opt_state.inner, params, value=loss, total_steps=steps
            )
            return dataclasses.replace(
                opt_state,
                params=optax.apply_updates(params, updates),
                state=model_state,
                inner=inner,
                iteration=opt_state.iteration + 1,
            )

        def set_params(self, state: ExternalRun, params: Params) -> ExternalRun:
            """The state with other params."""
            return dataclasses.replace(state, params=params)

        @property
        def name(self) -> str:
            """Of the rule, for the library's archives."""
            return _name(learned)

    return Optimizer


@flax.struct.dataclass
class ExternalRun:
    """The state of an external `Optimizer` that is a rule of this package.

    Attributes:
      params: the model's.
      state: of the model, such as batch statistics.
      inner: the transformation's.
      iteration: steps taken.
      num_steps: the length of the run, None if it was not given.
    """

    params: Params
    state: Any
    inner: Any
    iteration: Int[Array, ""]
    num_steps: Int[Array, ""] | None


def _learned(rule: Any, spec: PermutationSpec | None) -> LearnedOptimizer:
    """A rule as a learned optimizer, however it is given; theta is None if there is none yet."""
    if isinstance(rule, os.PathLike) or (
        isinstance(rule, str) and (rule in PRETRAINED or Path(rule).expanduser().is_file())
    ):
        rule = load(rule)
    if isinstance(rule, LearnedOptimizer):
        return rule if rule.spec else dataclasses.replace(rule, spec=spec)
    rule = build(RULES, rule) if isinstance(rule, str | Mapping) else rule
    if not isinstance(rule, Rule):
        raise UserError(f"{rule!r} is a {type(rule).__name__}, no rule and no file of one")
    if rule.tied and spec is None:
        raise UserError("this rule is tied to an architecture: pass spec=task_from(task).spec")
    return LearnedOptimizer(rule, None, spec, {})


def _scale(
    learned: LearnedOptimizer, learning_rate: optax.ScalarOrSchedule | None, schedule: str
) -> optax.GradientTransformation:
    if callable(learning_rate):
        return optax.scale_by_learning_rate(learning_rate)
    if learning_rate is None:
        if learned.learning_rate is None:
            raise UserError("nothing says which learning rate this rule is for: pass learning_rate")
        schedule, learning_rate = learned.schedule, learned.learning_rate
    return scale_over_run(schedule, learning_rate)


def _name(learned: LearnedOptimizer) -> str:
    return f"lopt_{RULES.name_of(learned.rule)}"
