"""An external optimizer, learned or not, as an optax transformation."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import serialization
from jaxtyping import Array, Int, PyTree

from lopt.base.errors import UserError, user_errors
from lopt.base.parts import build
from lopt.interop.learned_optimization.library import ANY, LIBRARY, imported
from lopt.rules.rule import Theta
from lopt.tasks.task import Params


class ExternalState(NamedTuple):
    """The state of an external optimizer as an optax transformation.

    Attributes:
      inner: the state there, without the params where these can be put in again.
      count: steps taken.
    """

    inner: Any
    count: Int[Array, ""]  # type: ignore[assignment]


def optimizer_from(
    theirs: Any, theta: Theta | str | os.PathLike | None = None, total_steps: int | None = None
) -> optax.GradientTransformationExtraArgs:
    """An external optimizer, learned ones included, as an optax transformation.

    Its `update` needs the params. What learned ones read beside is the loss, handed on from the
    extra argument `value`, which `lopt.compare` and optax' training loops pass. The learning rate
    is the one that it was made with. Updates are differences of params, so that params are as in
    the library up to the rounding of a sum.

    Args:
      theirs: an external `Optimizer`, or a `LearnedOptimizer` with its theta, or the text of a
        function or class that makes one, `"module:function(argument=value)"`.
      theta: meta-parameters of a `LearnedOptimizer`; or a file of them, as the library's
        `outer_train` writes (`ParameterCheckpoint`), or as Celo and VeLO have them (theta alone).
        Nothing in a file is run.
      total_steps: the length of the run, which VeLO and others need as `num_steps`.

    Raises:
      UserError: if the library is missing, this is no external optimizer, a learned one comes
        without theta, or a file is not of its theta.

    Example:
      >>> tx = optimizer_from("learned_optimization.optimizers.base:SGD(learning_rate=0.5)")
      >>> params = jnp.ones(3)
      >>> state = tx.init(params)
      >>> updates, state = tx.update(params, state, params, value=1.0)
      >>> updates
      Array([-0.5, -0.5, -0.5], dtype=float32)
    """
    imported("optimizers.base")  # without which nothing could be built
    made = build(ANY, theirs) if isinstance(theirs, str) else theirs
    if hasattr(made, "opt_fn"):
        if theta is None:
            raise UserError(f"{theirs} is a LearnedOptimizer: pass its theta, or a file of it")
        if isinstance(theta, str | os.PathLike):
            theta = _theta_of(made, Path(theta).expanduser())
        made = made.opt_fn(theta)
    elif not all(hasattr(made, name) for name in ("init", "update", "get_params")):
        raise UserError(f"{theirs} is a {type(made).__name__}, no optimizer of {LIBRARY}")
    return _transformation(made, total_steps)


def _transformation(made: Any, total_steps: int | None) -> optax.GradientTransformationExtraArgs:
    def init(params: Params) -> ExternalState:
        key = jax.random.PRNGKey(0)
        state = jax.tree.map(jnp.asarray, made.init(params, num_steps=total_steps, key=key))
        return ExternalState(_with_params(made, state, ()), jnp.zeros((), jnp.int32))

    def update(
        updates: PyTree[Array],
        state: ExternalState,
        params: Params | None = None,
        *,
        value: Array | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree[Array], ExternalState]:
        if params is None:
            raise UserError(f"an optimizer of {LIBRARY} reads the params: pass them to update")
        key = jax.random.fold_in(jax.random.PRNGKey(1), state.count)
        inner = _with_params(made, state.inner, params)
        inner = made.update(inner, updates, loss=value, model_state=None, key=key)
        step = jax.tree.map(lambda new, old: new - old, made.get_params(inner), params)
        return step, ExternalState(_with_params(made, inner, ()), state.count + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def _with_params(made: Any, state: Any, params: Any) -> Any:
    """The state of an external optimizer with other params."""
    default = imported("optimizers.base").Optimizer.set_params
    if getattr(type(made), "set_params", None) is not default:
        return made.set_params(state, params)
    # the release has `_replace` here and the newest version `replace`, whatever the state
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        return dataclasses.replace(state, params=params)
    return state._replace(params=params)


def _theta_of(learned: Any, path: Path) -> Theta:
    imported("checkpoints")  # makes haiku's mappings known to flax
    with user_errors(f"{str(path)!r} holds no theta in flax' msgpack format"):
        found = serialization.msgpack_restore(path.read_bytes())
    if isinstance(found, Mapping) and found.keys() == {"params", "gen_id", "step"}:
        found = found["params"]
    expected = learned.init(jax.random.PRNGKey(0))
    with user_errors(f"{str(path)!r} is not of this optimizer's theta"):
        restored = serialization.from_state_dict(expected, found)
        fits = jax.tree.map(lambda a, b: jnp.shape(a) == jnp.shape(b), expected, restored)
    if not jax.tree.all(fits):
        raise UserError(f"{str(path)!r} is not of this optimizer's theta: shapes differ")
    return jax.tree.map(jnp.asarray, restored)
