"""What an update rule is, and how it becomes an optax transformation."""

import abc
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, PyTree

from lopt.base.errors import UserError
from lopt.base.mesh import by_compiler, laid_out_like
from lopt.rules.arguments import require_arguments
from lopt.rules.sizes import Sizes
from lopt.symmetry import Axes, PermutationSpec
from lopt.symmetry.paths import boxed, unboxed
from lopt.symmetry.spec import require_spec

F = TypeVar("F", bound=Callable[..., Any])

Theta = PyTree[Array]


class RuleState(NamedTuple):
    """The optimizer's state.

    Attributes:
      count: steps taken.
      ignored: entries of gradients so far that were not finite; they count as zero.
      sizes: of gradients, of each tensor in the order of the params' leaves.
      averages: of gradients, in the units in `sizes`: a tree like the params for each, in boxes
        with names of axes where they are.
      memory: what else a part of the rule keeps of tensors: a tree with the params' keys for each,
        with None where it keeps nothing. Its arrays have shapes of their own, and no boxes. Without
        any tensor it is an empty array, as `optax.tree_map_params` needs to leave it as it is.
    """

    count: Int[Array, ""]  # type: ignore[assignment]
    ignored: Int[Array, ""]
    sizes: Sizes
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
        require_arguments(learning_rate, total_steps, weight_decay, mask)
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


class Kept(NamedTuple):
    """What a rule keeps in a `RuleState`, whose attributes these are, without boxes."""

    sizes: Sizes
    averages: dict[str, PyTree[Array]]
    memory: dict[str, PyTree[Array]]


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
    elements and the boxes around others, and asks for the params. What it computes does not depend
    on how strict the program is about JAX's promotions.
    """

    @promoting
    def init_state(params: PyTree[Array]) -> RuleState:
        count, ignored = (jnp.zeros((), jnp.int32) for _ in range(2))  # to be donated, not one
        _require_real(params)
        plain = _with_elements(unboxed(params))
        kept = init(plain)
        averages = {name: boxed(tree, like=params) for name, tree in kept.averages.items()}
        memory: Any = kept.memory if jax.tree.leaves(plain) else jnp.zeros(0)
        return RuleState(count, ignored, kept.sizes, averages, memory)

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
            directions, kept = update(finite, float32(params), state, extra_args)
            directions = jax.tree.map(
                lambda g, d: laid_out_like(d.astype(jnp.result_type(g)), g), grads, directions
            )
            return directions, RuleState(state.count, state.ignored + bad, *kept)

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


def leaves_of(
    params: PyTree[Array], grads: PyTree[Any], averages: dict[str, PyTree[Array | None]]
) -> list[tuple[Array, Any, dict[str, Array]]]:
    """(param, grad, {name: average}) of each tensor; a grad may be a `lopt.rules.sizes.Reading`."""
    structure: Any = jax.tree.structure(params)
    kept = by_tensor(averages, structure)
    return list(zip(jax.tree.leaves(params), structure.flatten_up_to(grads), kept, strict=True))


def by_tensor(
    trees: dict[str, PyTree[Array | None]], structure: jax.tree_util.PyTreeDef
) -> list[dict[str, Array]]:
    """What is kept of each tensor, by name; None counts as nothing."""
    leaves = {name: structure.flatten_up_to(tree) for name, tree in trees.items()}
    return [
        {name: values[i] for name, values in leaves.items() if values[i] is not None}
        for i in range(structure.num_leaves)
    ]


def by_name(
    of_tensors: Sequence[dict[str, Array]],
    names: Iterable[str],
    structure: jax.tree_util.PyTreeDef,
) -> dict[str, PyTree[Array | None]]:
    """A tree for each name, with None for tensors that keep nothing by it."""
    return {name: structure.unflatten([kept.get(name) for kept in of_tensors]) for name in names}


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


def unrelated(params: PyTree[Array]) -> PermutationSpec:
    """A spec in which no two axes share a group."""
    leaves, structure = jax.tree.flatten(params)
    shapes = [np.shape(x) for x in leaves]
    names = [[f"{i}.{k}" for k in range(len(shape))] for i, shape in enumerate(shapes)]
    sizes = dict(zip(chain(*names), chain(*shapes), strict=True))
    return PermutationSpec(jax.tree.unflatten(structure, [Axes(*ns) for ns in names]), sizes)
