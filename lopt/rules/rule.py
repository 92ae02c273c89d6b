"""What an update rule is, and how it becomes an optax transformation."""

import abc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, PyTree

from lopt.errors import UserError
from lopt.mesh import by_compiler, laid_out_like
from lopt.symmetry import Axes, PermutationSpec
from lopt.symmetry.spec import require_spec

Theta = PyTree[Array]


class RuleState(NamedTuple):
    """The optimizer's state.

    Attributes:
      count: steps taken.
      ignored: entries of gradients so far that were not finite; they count as zero.
      averages: of gradients: a tree like the params for each.
      memory: what else a part of the rule keeps of tensors: a tree like the params for each, with
        None where it keeps nothing.
    """

    count: Int[Array, ""]  # type: ignore[assignment]
    ignored: Int[Array, ""]
    averages: dict[str, PyTree[Array]]
    memory: dict[str, PyTree[Array]]


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
        learning_rate: optax.ScalarOrSchedule,
        spec: PermutationSpec | None = None,
        total_steps: int | None = None,
        weight_decay: optax.ScalarOrSchedule = 0.0,
        mask: PyTree[bool] | Callable[[PyTree[Array]], PyTree[bool]] | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        """The optax transformation for params that fit the spec.

        Args:
          theta: meta-parameters.
          learning_rate: a number or an optax schedule.
          spec: the neuron groups of the params.
          total_steps: the length of the run.
          weight_decay: a number or an optax schedule, times the learning rate, as in
            `optax.adamw`.
          mask: which params decay; all by default.

        Raises:
          SpecError: if the spec is not a `PermutationSpec`.
          UserError: as `scale_by_rule`.
        """
        if spec is not None:
            require_spec(spec)
        for what, value in {"learning rate": learning_rate, "weight decay": weight_decay}.items():
            if isinstance(value, str) or value is None:
                raise UserError(f"the {what} must be a number or a schedule, not {value!r}")
        # JAX arrays of a mesh with explicit axes could not be used where the compiler divides work.
        theta = jax.tree.map(
            lambda x: x if isinstance(x, jax.core.Tracer) else np.asarray(x), theta
        )
        return optax.chain(
            self.scale_by_rule(theta, spec, total_steps),
            optax.add_decayed_weights(weight_decay, mask),
            optax.scale_by_learning_rate(learning_rate),
        )


Kept = tuple[dict[str, PyTree[Array]], dict[str, PyTree[Array]]]
"""(averages, memory) of a `RuleState`"""

Init = Callable[[PyTree[Array]], Kept]
"""params -> what is kept"""

Update = Callable[
    [PyTree[Array], PyTree[Array], RuleState, dict[str, Any]],
    tuple[PyTree[Array], Kept],
]
"""(grads, params, state with this step counted, extra arguments) -> (directions, what is kept)"""


def transformation(init: Init, update: Update) -> optax.GradientTransformationExtraArgs:
    """An optax transformation from two functions over float32 trees.

    It counts steps, reads every float type as float32, takes gradients that are not finite as zero
    and counts them, gives directions the type of the gradients, leaves out tensors without
    elements, and asks for the params.
    """

    def init_state(params: PyTree[Array]) -> RuleState:
        count, ignored = (jnp.zeros((), jnp.int32) for _ in range(2))  # to be donated, not one
        _require_real(params)
        return RuleState(count, ignored, *init(_with_elements(params)))

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
        grads, params = map(_with_elements, (updates, params))
        if not jax.tree.leaves(params):
            return updates, state
        state = state._replace(count=optax.safe_increment(state.count))

        def advance(
            grads: PyTree[Array], params: PyTree[Array], state: RuleState
        ) -> tuple[PyTree[Array], RuleState]:
            finite, bad = _finite(float32(grads))
            directions, (averages, memory) = update(finite, float32(params), state, extra_args)
            directions = jax.tree.map(
                lambda g, d: laid_out_like(d.astype(jnp.result_type(g)), g), grads, directions
            )
            ignored = state.ignored + bad
            return directions, RuleState(state.count, ignored, averages, memory)

        directions, state = by_compiler(advance, grads, params, state, like=(params, state))
        return jax.tree.map(lambda g, d: g if d is None else d, updates, directions), state

    return optax.GradientTransformationExtraArgs(init_state, step)


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


def leaves_of(
    params: PyTree[Array], grads: PyTree[Array], averages: dict[str, PyTree[Array | None]]
) -> list[tuple[Array, Array, dict[str, Array]]]:
    """(param, grad, {name: average}) of each tensor."""
    kept = by_tensor(averages, jax.tree.structure(params))
    return list(zip(jax.tree.leaves(params), jax.tree.leaves(grads), kept, strict=True))


def by_tensor(
    trees: dict[str, PyTree[Array | None]], structure: jax.tree_util.PyTreeDef
) -> list[dict[str, Array]]:
    """What is kept of each tensor, by name; None counts as nothing."""
    leaves = {name: structure.flatten_up_to(tree) for name, tree in trees.items()}
    return [
        {name: values[i] for name, values in leaves.items() if values[i] is not None}
        for i in range(structure.num_leaves)
    ]


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
                "params; optax.contrib.split_real_and_imaginary makes them such"
            )


def unrelated(params: PyTree[Array]) -> PermutationSpec:
    """A spec in which no two axes share a group."""
    leaves, structure = jax.tree.flatten(params)
    names = [[f"{i}.{k}" for k in range(x.ndim)] for i, x in enumerate(leaves)]
    sizes = {
        n: s for ns, x in zip(names, leaves, strict=True) for n, s in zip(ns, x.shape, strict=True)
    }
    return PermutationSpec(jax.tree.unflatten(structure, [Axes(*ns) for ns in names]), sizes)
