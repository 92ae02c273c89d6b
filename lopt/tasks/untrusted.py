"""Tasks that a file names, which anybody may have written: built within limits."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
from jax.extend import core
from jaxtyping import PyTree

from lopt.base.errors import UserError
from lopt.base.parts import build, describe, parse
from lopt.base.untrusted import require_modest
from lopt.base.user_defined import from_a_file
from lopt.tasks.registry import TASKS
from lopt.tasks.task import Task

MOST_BYTES = 2**31
"""Of memory that one training step of an untrusted task may need."""


def build_untrusted(part: str | Mapping[str, Any], most_bytes: int = MOST_BYTES) -> Task:
    """Build the task that an optimizer file names, unless it is too large.

    The task is first made of shapes alone, so that what is refused has allocated nothing but its
    data: those are the embedded sets, which are small, and those in `$TFDS_DATA_DIR`.

    Args:
      part: the text or config of a task.
      most_bytes: the largest `training_bytes` that is built.

    Raises:
      UserError: for a task that needs more memory, or a user-defined one that only the file
        names; as `lopt.base.build` and `require_modest`.

    Example:
      >>> build_untrusted("mlp(widths=(1_000_000_000,))")
      Traceback (most recent call last):
          ...
      lopt.base.errors.UserError: what a file names may have widths up to 100,000,000
    """
    part = parse(part) if isinstance(part, str) else part
    require_modest(part)
    with from_a_file():
        size = training_bytes(jax.eval_shape(partial(build, TASKS, part)))
        if size > most_bytes:
            raise UserError(
                f"{describe(part)} takes about {_gibibytes(size)} to train, and a task that a file "
                f"names may take {_gibibytes(most_bytes)}; name it yourself if it is meant"
            )
        return build(TASKS, part)


def training_bytes(task: Task) -> int:
    """About how much memory a training step takes, optimized or not; nothing is allocated.

    It is that of the data, of four copies of the params (themselves, their gradients, two averages
    of these), and of everything that the loss computes, which its gradient reads again.

    Args:
      task: of arrays, or of shapes as `jax.eval_shape` gives them.

    Example:
      >>> from lopt.tasks import quadratic
      >>> training_bytes(quadratic(dimension=1000)) < 100_000
      True
    """

    def loss(task: Task, *arguments: Any) -> Any:
        return task.loss(*arguments)

    key = jax.eval_shape(lambda: jax.random.key(0))
    params, state = jax.eval_shape(lambda task, key: task.init(key), task, key)
    batch = jax.eval_shape(lambda task, *a: task.batch(*a), task, state, key)
    computed = jax.make_jaxpr(loss)(task, params, state, batch, key)
    return bytes_of((task, batch)) + 4 * bytes_of(params) + _computed_bytes(computed.jaxpr)


def _computed_bytes(jaxpr: core.Jaxpr) -> int:
    """The bytes of all equations' results; a loop's body counts as often as it runs."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [_computed_bytes(j) for j in core.jaxprs_in_params(equation.params)]
        results = bytes_of([v.aval for v in equation.outvars])
        total += equation.params.get("length", 1) * sum(inner) if inner else results
    return total


def bytes_of(tree: PyTree[Any]) -> int:
    """The size of arrays, or of their shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:,.3g} GiB"
