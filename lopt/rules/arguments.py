"""Checks of what `lopt.optimizer` is given beside the rule."""

from typing import Any

import jax
import numpy as np
import optax

from lopt.base.checks import number, shown
from lopt.base.errors import UserError
from lopt.base.schedules import run_length

_RATE = number(0)


def require_arguments(
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
