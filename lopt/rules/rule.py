"""The type of update rules: meta-parameters to an optax transformation."""

import abc
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Array, PyTree

from lopt.base.checks import number, shown
from lopt.base.errors import UserError
from lopt.base.schedules import run_length
from lopt.symmetry import PermutationSpec
from lopt.symmetry.spec import require_spec

Theta = PyTree[Array]

_RATE = number(0)


class Rule(abc.ABC):
    """A parametric optimizer: theta -> optax transformation.

    Subclasses are frozen dataclasses of plain data, so that a config, a file and a command line
    can name them; parts within are texts, `"name"` or `"name(argument=value)"`.
    """

    @property
    @abc.abstractmethod
    def tied(self) -> bool:
        """Whether theta fits one architecture only."""

    @abc.abstractmethod
    def init(self, key: Array, spec: PermutationSpec) -> Theta:
        """Fresh meta-parameters.

        Args:
          key: a random key.
          spec: of any weight space; of the one that theta will be for, if the rule is tied.
        """

    @abc.abstractmethod
    def scale_by_rule(
        self,
        theta: Theta,
        spec: PermutationSpec | None = None,
        total_steps: int | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        """The rule without learning rate and sign: it maps gradients to directions.

        Gradients and params of any float type are read as float32; directions have the type of
        the gradients. Where a mask leaves tensors out, theta reads the others and the groups on
        them; theta that is tied to an architecture needs all.

        Args:
          theta: meta-parameters.
          spec: the neuron groups of the params.
          total_steps: the length of the run, for rules that read how far it has come. `update`
            takes another as the extra argument `total_steps`, which may be traced.

        Raises:
          UserError: if there is no spec, or no length of the run, and the rule needs it.
        """

    def optimizer(
        self,
        theta: Theta,
        learning_rate: optax.ScalarOrSchedule | optax.GradientTransformation,
        spec: PermutationSpec | None = None,
        total_steps: int | None = None,
        weight_decay: optax.ScalarOrSchedule = 0.0,
        mask: PyTree[bool] | Callable[[PyTree[Array]], PyTree[bool]] | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        """The optax transformation for params that fit the spec.

        Args:
          theta: meta-parameters.
          learning_rate: a number, an optax schedule, or a transformation that scales by minus the
            rate, as `lopt.base.schedules.scale_over_run` makes one.
          spec: the neuron groups of the params.
          total_steps: the length of the run. `update` takes another as an extra argument of this
            name, which moves what reads it: the rule, and a rate of `scale_over_run`, but no
            schedule of optax.
          weight_decay: a number or an optax schedule, times the learning rate, as in
            `optax.adamw`.
          mask: which params decay; all by default.

        Raises:
          SpecError: if the spec is not a `PermutationSpec`.
          UserError: as `scale_by_rule`, and for an argument that is no number, schedule, length or
            mask.
        """
        if spec is not None:
            require_spec(spec)
        _require_arguments(learning_rate, total_steps, weight_decay, mask)
        # JAX arrays of a mesh with explicit axes could not be used where the compiler divides work.
        theta = jax.tree.map(
            lambda x: x if isinstance(x, jax.core.Tracer) else np.asarray(x), theta
        )
        if not isinstance(learning_rate, optax.GradientTransformation):
            learning_rate = optax.scale_by_learning_rate(learning_rate)
        return optax.chain(
            self.scale_by_rule(theta, spec, total_steps),
            optax.add_decayed_weights(weight_decay, mask),
            learning_rate,
        )


def _require_arguments(
    learning_rate: Any, total_steps: Any = None, weight_decay: Any = 0.0, mask: Any = None
) -> None:
    """Find out whether an optimizer can be made with these; what is traced is believed.

    Raises:
      UserError: for a learning rate or a weight decay that is neither a finite number of at least
        0 nor a function, a length that is no number of at least 1, or a mask that is neither a
        tree of booleans nor a function.
    """
    for name, value in {"learning rate": learning_rate, "weight decay": weight_decay}.items():
        if callable(value) or isinstance(value, jax.core.Tracer | optax.GradientTransformation):
            continue
        if not _RATE.holds(value):
            words = f"a schedule or {_RATE.words}"
            raise UserError(f"the {name} must be {words}, not {shown(value)}")
    if total_steps is not None:
        run_length(total_steps)
    if not callable(mask) and not all(map(_is_flag, jax.tree.leaves(mask))):
        raise UserError(
            "mask must be a tree of booleans like the params, or a function that makes one, not "
            f"{shown(mask)}"
        )


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_
