"""From a function of float32 trees to an optax transformation that takes what users have."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, PyTree

from lopt.base.errors import UserError
from lopt.base.mesh import by_compiler, laid_out_like
from lopt.symmetry.paths import boxed, unboxed

F = TypeVar("F", bound=Callable[..., Any])


class RuleState(NamedTuple):
    """The optimizer's state.

    Attributes:
      count: steps taken.
      ignored: entries of gradients so far that were not finite; they count as zero.
      averages: of gradients, a tree like the params for each name, in boxes with names of axes
        where params are.
      tensors: what else belongs to each tensor, such as a `lopt.rules.rotated.TensorState`, at its
        place in the params. These arrays have shapes of their own, and no boxes. Without any
        tensor it is an empty array, as `optax.tree_map_params` needs to leave it as it is.
    """

    count: Int[Array, ""]  # type: ignore[assignment]
    ignored: Int[Array, ""]
    averages: dict[str, PyTree[Array]]
    tensors: PyTree[Any]


Init = Callable[[PyTree[Array]], tuple[dict[str, PyTree[Array]], PyTree[Any]]]
"""params -> (averages, tensors) of a `RuleState`"""

Update = Callable[
    [PyTree[Array], PyTree[Array], RuleState, dict[str, Any]],
    tuple[PyTree[Array], dict[str, PyTree[Array]], PyTree[Any]],
]
"""(grads, params, state of this step, extra arguments) -> (directions, averages, tensors)"""


def transformation(init: Init, update: Update) -> optax.GradientTransformationExtraArgs:
    """An optax transformation from two functions over float32 trees.

    It counts steps, reads every float type as float32, takes gradients that are not finite as zero
    and counts them, gives directions the type of the gradients, leaves out tensors without
    elements and the boxes around others, and asks for the params. What it computes does not depend
    on how strict the program is about JAX's promotions.
    """

    @promoting
    def init_state(params: PyTree[Array]) -> RuleState:
        count, ignored = (jnp.zeros((), jnp.int32) for _ in range(2))  # to be donated, not one
        _require_real(params)
        plain = _with_elements(unboxed(params))
        averages, tensors = init(plain)
        averages = {name: boxed(tree, like=params) for name, tree in averages.items()}
        return RuleState(
            count, ignored, averages, tensors if jax.tree.leaves(plain) else jnp.zeros(0)
        )

    @promoting
    def step(
        updates: PyTree[Array],
        state: RuleState,
        params: PyTree[Array] | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree[Array], RuleState]:
        if params is None:
            raise UserError("a learned optimizer reads the params: pass them to update")
        if not isinstance(state, RuleState):
            raise UserError(
                f"this state is of type {type(state).__name__}, of another optimizer; make one "
                "with this optimizer's init"
            )
        _require_gradients(updates, params)
        boxes = updates, state.averages
        updates, params, averages = map(unboxed, (updates, params, state.averages))
        grads, params = map(_with_elements, (updates, params))
        if not jax.tree.leaves(params):
            return boxes[0], state
        state = state._replace(count=optax.safe_increment(state.count), averages=averages)

        def advance(
            grads: PyTree[Array], params: PyTree[Array], state: RuleState
        ) -> tuple[PyTree[Array], RuleState]:
            finite, bad = _finite(float32(grads))
            directions, *after = update(finite, float32(params), state, extra_args)
            directions = jax.tree.map(
                lambda g, d: laid_out_like(d.astype(jnp.result_type(g)), g), grads, directions
            )
            return directions, RuleState(state.count, state.ignored + bad, *after)

        directions, state = by_compiler(advance, grads, params, state, like=(params, state))
        updates = jax.tree.map(lambda g, d: g if d is None else d, updates, directions)
        averages = {n: boxed(tree, like=boxes[1][n]) for n, tree in state.averages.items()}
        return boxed(updates, like=boxes[0]), state._replace(averages=averages)

    return optax.GradientTransformationExtraArgs(init_state, step)


def promoting(function: F) -> F:
    """The function with JAX's standard promotions of types and ranks, whatever the program set."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return cast(F, wrapped)


def _finite(grads: PyTree[Array]) -> tuple[PyTree[Array], Int[Array, ""]]:
    """Gradients with zeros in place of entries that are not finite, and how many these are."""
    sound = jax.tree.map(jnp.isfinite, grads)
    bad = sum(jnp.sum(~s, dtype=jnp.int32) for s in jax.tree.leaves(sound))
    return jax.tree.map(lambda g, s: jnp.where(s, g, 0), grads, sound), jnp.asarray(bad)


def _require_gradients(updates: PyTree[Array], params: PyTree[Array]) -> None:
    """Refuse gradients that are not a real array of its shape for each param, by its path.

    Raises:
      UserError: naming the first param without one.
    """
    found = dict(jax.tree.leaves_with_path(updates))
    expected = jax.tree.leaves_with_path(params)
    for path, param in expected:
        name = jax.tree_util.keystr(path)
        gradient = found.pop(path, None)
        if gradient is None or jnp.result_type(gradient) == jax.dtypes.float0:
            raise UserError(
                f"{name} has no gradient; leave it out of the params, or wrap the optimizer in "
                "optax.masked or optax.partition"
            )
        if jnp.shape(gradient) != jnp.shape(param):
            raise UserError(
                f"{name} has shape {jnp.shape(param)} and its gradient {jnp.shape(gradient)}"
            )
    for path in found:
        raise UserError(f"{jax.tree_util.keystr(path)} has a gradient and is not in the params")


def _with_elements(tree: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda x: x if math.prod(np.shape(x)) else None, tree)


def float32(tree: PyTree[Array]) -> PyTree[Array]:
    """A tree of arrays of any real type as float32.

    Raises:
      UserError: for complex numbers.
    """
    _require_real(tree)
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def _require_real(tree: PyTree[Array]) -> None:
    for path, x in jax.tree.leaves_with_path(tree):
        if jnp.issubdtype(jax.typeof(x).dtype, jnp.complexfloating):
            raise UserError(
                f"{jax.tree_util.keystr(path)} is complex, and learned optimizers read real "
                "params: keep its real and imaginary part as two, of which the loss makes one"
            )
