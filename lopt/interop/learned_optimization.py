"""google/learned_optimization (Metz et al., arXiv 2203.11860): its tasks and optimizers, and ours.

`as_learned_optimizer` takes a rule there, `task_from` and `optimizer_from` take their tasks and
optimizers here. docs/interop.md says how to install the library, which is imported when one of
these is called.
"""

import dataclasses
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import serialization
from jaxtyping import Array, Float, Int, PyTree

from lopt.errors import UserError
from lopt.parts import Parts, build, name_in, require_positive
from lopt.pretrained import PRETRAINED
from lopt.rules import RULES, LearnedOptimizer, Rule, load
from lopt.rules.rule import Theta
from lopt.schedules import scale_over_run
from lopt.symmetry import Axes, PermutationSpec
from lopt.tasks import Task
from lopt.tasks.families.family import Drawn
from lopt.tasks.task import Batch, Params

_LIBRARY = "learned_optimization"

_ANY = Parts(f"part of {_LIBRARY}")
"""Theirs have no names but `module:function`."""

_EVALUATIONS = 8
"""Keys that the loss of a task without data is averaged over."""


def as_learned_optimizer(
    rule: Rule | LearnedOptimizer | str | os.PathLike,
    learning_rate: optax.ScalarOrSchedule | None = None,
    schedule: str = "constant",
    spec: PermutationSpec | None = None,
) -> Any:
    """A rule as a `LearnedOptimizer` of theirs.

    Its `init(key)` gives fresh meta-parameters, or those of a file, and `opt_fn(theta)` an
    `Optimizer` of theirs, whose `init` is told the model's state and the length of the run as
    `num_steps`, and whose `update` the loss. Their truncated steps, estimators and evaluators take
    it as any other.

    Args:
      rule: a rule, or its text such as `"gates(width=4)"`; a file of `lopt.save` or
        `meta_train.py`, or what it holds; a name in `lopt.pretrained.PRETRAINED`.
      learning_rate: a number, or an optax schedule. By default, of a file, the rate that theta was
        meta-trained with, on its schedule.
      schedule: a name in `lopt.schedules.SCHEDULES` that a number follows over `num_steps`.
      spec: the neuron groups of the params, such as `task_from(their_task).spec`, which a rule
        with relational or exact layers needs.

    Returns:
      An instance of `learned_optimization.learned_optimizers.base.LearnedOptimizer`.

    Raises:
      UserError: if the library is missing, a rule comes without a learning rate, or one that is
        tied to an architecture without a spec; as `lopt.load`.

    Example:
      >>> lopt_base = as_learned_optimizer("base")
      >>> opt = lopt_base.opt_fn(lopt_base.init(jax.random.PRNGKey(0)))
      >>> state = opt.init({"w": jnp.ones((3, 2))}, num_steps=100)
      >>> state = opt.update(state, {"w": jnp.ones((3, 2))}, loss=jnp.float32(1.0))
      >>> opt.get_params(state)["w"].shape
      (3, 2)
    """
    optimizers, learned_optimizers = _their("optimizers.base"), _their("learned_optimizers.base")
    learned = _learned(rule, spec)
    scale = _scale(learned, learning_rate, schedule)

    class Optimizer(optimizers.Optimizer):
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
        ) -> RunOfTheirs:
            """The state before the first step; `num_steps` may be traced."""
            steps = None if num_steps is None else jnp.asarray(num_steps, jnp.int32)
            inner = self._transformation.init(params)
            return RunOfTheirs(params, model_state, inner, jnp.zeros((), jnp.int32), steps)

        def update(
            self,
            opt_state: RunOfTheirs,
            grad: PyTree[Array],
            loss: Array | None = None,
            model_state: Any = None,
            key: Array | None = None,
            **kwargs: Any,
        ) -> RunOfTheirs:
            """The state after a step."""
            updates, inner = self._transformation.update(
                grad,
                opt_state.inner,
                opt_state.params,
                value=loss,
                total_steps=opt_state.num_steps,
            )
            return opt_state.replace(
                params=optax.apply_updates(opt_state.params, updates),
                state=model_state,
                inner=inner,
                iteration=opt_state.iteration + 1,
            )

        def set_params(self, state: RunOfTheirs, params: Params) -> RunOfTheirs:
            """The state with other params."""
            return state.replace(params=params)

        @property
        def name(self) -> str:
            """Of the rule, for their archives."""
            return f"lopt_{name_in(RULES, learned.rule)}"

    class Learned(learned_optimizers.LearnedOptimizer):
        """The rule."""

        def init(self, key: Array) -> Theta:
            """Meta-parameters that meta-training begins with."""
            if learned.theta is not None:
                return learned.theta
            any_space = PermutationSpec({"x": Axes("x")}, {"x": 1})
            return learned.rule.init(key, learned.spec or any_space)

        def opt_fn(self, theta: Theta, is_training: bool = False) -> Optimizer:
            """The optimizer at some meta-parameters."""
            return Optimizer(theta)

        @property
        def name(self) -> str:
            """Of the rule, for their summaries."""
            return f"lopt_{name_in(RULES, learned.rule)}"

    return Learned()


@flax.struct.dataclass
class RunOfTheirs:
    """The state of an `Optimizer` of theirs that is one of our rules.

    Attributes:
      params: the model's.
      state: of the model, such as batch statistics.
      inner: the transformation's.
      iteration: steps taken.
      num_steps: the length of the run, None if it was not told.
    """

    params: Params
    state: Any
    inner: Any
    iteration: Int[Array, ""]
    num_steps: Int[Array, ""] | None


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class TaskOfTheirs(Task):
    """A family of tasks of theirs, or a single one; see `task_from`.

    A run's state has what the family drew for it, and the model's state.

    Attributes:
      data: batches of the training split, stacked; None if there are no data.
      held_out: batches of the test split, likewise.
      family: the family.
    """

    data: Batch
    held_out: Batch
    family: Any = field(metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, Drawn]:  # noqa: D102
        family_key, init_key = jax.random.split(key)
        drawn = self.family.sample(_raw(family_key))
        params, state = self.family.task_fn(drawn).init_with_state(_raw(init_key))
        return params, Drawn(drawn, state)

    def batch(self, state: Drawn, key: Array) -> Batch:  # noqa: D102
        if self.data is None:
            return ()
        return _batch_of(self.data, jax.random.randint(key, (), 0, _batches_in(self.data)))

    def loss(  # noqa: D102
        self, params: Params, state: Drawn, batch: Batch, key: Array
    ) -> tuple[Float[Array, ""], Drawn]:
        task = self.family.task_fn(state.value)
        loss, model_state = task.loss_with_state(params, state.state, _raw(key), batch)
        return loss, state._replace(state=model_state)

    def evaluate(self, params: Params, state: Drawn) -> dict[str, Float[Array, ""]]:  # noqa: D102
        task = self.family.task_fn(state.value)
        number = _EVALUATIONS if self.held_out is None else _batches_in(self.held_out)

        def one(index: Array) -> dict[str, Array]:
            batch = () if self.held_out is None else _batch_of(self.held_out, index)
            key = _raw(jax.random.fold_in(jax.random.key(0), index))
            loss, _, aux = task.loss_with_state_and_aux(params, state.state, key, batch)
            return {**aux, "loss": loss}

        found = jax.lax.map(one, jnp.arange(number))
        return {name: jnp.mean(values) for name, values in found.items()}

    @property
    def source(self) -> str:  # noqa: D102
        return f"{self.family.name} of {_LIBRARY}"


def task_from(theirs: Any, batches: int = 64, held_out: int = 8) -> TaskOfTheirs:
    """A task of theirs, or a family of tasks, as one of ours.

    Their data come from iterators on the host. As many batches as are asked for are drawn from
    these here and now, and a step takes one of them at random: the iterators shuffle each time
    anew, so that another call gives other batches. A task's `normalizer` is not applied. Neuron
    groups are inferred from the loss, as of any task.

    Args:
      theirs: a `Task` or a `TaskFamily` of theirs, or the text of a function or class that makes
        one, `"module:function(argument=value)"`.
      batches: how many are drawn of the training split, if the task has data.
      held_out: how many of the test split.

    Raises:
      UserError: if the library is missing, or this is no task of theirs.

    Example:
      >>> task = task_from("learned_optimization.tasks.quadratics:QuadraticTask")
      >>> params, state = task.init(jax.random.key(0))
      >>> params.shape, sorted(task.evaluate(params, state))
      ((10,), ['loss'])
    """
    require_positive("task_from", batches=batches, held_out=held_out)
    base = _their("tasks.base")
    made = build(_ANY, theirs) if isinstance(theirs, str) else theirs
    if isinstance(made, base.Task):
        made = base.single_task_to_family(made)
    if not isinstance(made, base.TaskFamily):
        raise UserError(f"{theirs} is a {type(made).__name__}, no Task or TaskFamily of {_LIBRARY}")
    if made.datasets is None:
        return TaskOfTheirs(None, None, made)
    test = (made.eval_datasets or made.datasets).test
    return TaskOfTheirs(_stack(made.datasets.train, batches), _stack(test, held_out), made)


class StateOfTheirs(NamedTuple):
    """The state of an optimizer of theirs as an optax transformation.

    Attributes:
      inner: their state, without the params where these can be put in again.
      count: steps taken.
    """

    inner: Any
    count: Int[Array, ""]


def optimizer_from(
    theirs: Any, theta: Theta | str | os.PathLike | None = None, total_steps: int | None = None
) -> optax.GradientTransformationExtraArgs:
    """An optimizer of theirs, learned ones included, as an optax transformation.

    Its `update` needs the params. What learned ones read beside is the loss, handed on from the
    extra argument `value`, which `lopt.compare` and optax' own training loops pass. It has their
    own learning rate; updates are the difference of params, so that params are theirs up to the
    rounding of a sum.

    Args:
      theirs: an `Optimizer` of theirs, or a `LearnedOptimizer` with its theta, or the text of a
        function or class that makes one, `"module:function(argument=value)"`.
      theta: meta-parameters of a `LearnedOptimizer`; or a file of them, as their `outer_train`
        writes (`ParameterCheckpoint`), or as Celo and VeLO have them (theta alone). Nothing in
        a file is run.
      total_steps: the length of the run, which VeLO and others need as `num_steps`.

    Raises:
      UserError: if the library is missing, this is no optimizer of theirs, a learned one comes
        without theta, or a file is not of its theta.

    Example:
      >>> tx = optimizer_from("learned_optimization.optimizers.base:SGD(learning_rate=0.5)")
      >>> params = jnp.ones(3)
      >>> state = tx.init(params)
      >>> updates, state = tx.update(params, state, params, value=1.0)
      >>> updates
      Array([-0.5, -0.5, -0.5], dtype=float32)
    """
    optimizers = _their("optimizers.base")
    made = build(_ANY, theirs) if isinstance(theirs, str) else theirs
    if hasattr(made, "opt_fn"):
        if theta is None:
            raise UserError(f"{theirs} is a LearnedOptimizer: pass its theta, or a file of it")
        if isinstance(theta, str | os.PathLike):
            theta = _theta_of(made, Path(theta).expanduser())
        made = made.opt_fn(theta)
    elif not all(hasattr(made, name) for name in ("init", "update", "get_params")):
        raise UserError(f"{theirs} is a {type(made).__name__}, no optimizer of {_LIBRARY}")

    def with_params(state: Any, params: Any) -> Any:
        if getattr(type(made), "set_params", None) is optimizers.Optimizer.set_params:
            # the release has `_replace` here and the newest version `replace`, whatever the state
            if dataclasses.is_dataclass(state):
                return dataclasses.replace(state, params=params)
            return state._replace(params=params)
        return made.set_params(state, params)

    def init(params: Params) -> StateOfTheirs:
        key = jax.random.PRNGKey(0)
        state = jax.tree.map(jnp.asarray, made.init(params, num_steps=total_steps, key=key))
        return StateOfTheirs(with_params(state, ()), jnp.zeros((), jnp.int32))

    def update(
        updates: PyTree[Array],
        state: StateOfTheirs,
        params: Params | None = None,
        *,
        value: Array | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree[Array], StateOfTheirs]:
        if params is None:
            raise UserError(f"an optimizer of {_LIBRARY} reads the params: pass them to update")
        key = jax.random.fold_in(jax.random.PRNGKey(1), state.count)
        inner = with_params(state.inner, params)
        inner = made.update(inner, updates, loss=value, model_state=None, key=key)
        step = jax.tree.map(lambda new, old: new - old, made.get_params(inner), params)
        return step, StateOfTheirs(with_params(inner, ()), state.count + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def _their(module: str) -> ModuleType:
    try:
        return importlib.import_module(f"{_LIBRARY}.{module}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == _LIBRARY:
            raise UserError(
                f"{_LIBRARY} is not installed: pip install 'lopt[interop]' && pip install "
                f"--no-deps {_LIBRARY}"
            ) from error
        raise UserError(
            f"{_LIBRARY} needs {missing}, which is not installed: pip install 'lopt[interop]'"
        ) from error


def _learned(rule: Any, spec: PermutationSpec | None) -> LearnedOptimizer:
    """What a rule is, however it is given; theta is None where there is none yet."""
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
        inner = learned.provenance.get("inner")
        inner = inner if isinstance(inner, Mapping) else {}
        schedule, learning_rate = inner.get("schedule"), inner.get("learning_rate")
        if not isinstance(schedule, str) or not isinstance(learning_rate, int | float):
            raise UserError("nothing says which learning rate this rule is for: pass learning_rate")
    return scale_over_run(schedule, learning_rate)


def _theta_of(learned: Any, path: Path) -> Theta:
    """The meta-parameters in a file of flax' msgpack format."""
    _their("checkpoints")  # makes haiku's mappings known to flax
    try:
        found = serialization.msgpack_restore(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except Exception as error:
        raise UserError(f"{str(path)!r} holds no theta in flax' msgpack format") from error
    if isinstance(found, Mapping) and found.keys() == {"params", "gen_id", "step"}:
        found = found["params"]
    expected = learned.init(jax.random.PRNGKey(0))
    try:
        restored = serialization.from_state_dict(expected, found)
        fits = jax.tree.map(lambda a, b: jnp.shape(a) == jnp.shape(b), expected, restored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{str(path)!r} is not of this optimizer's theta: {' '.join(str(error).split())[:200]}"
        ) from error
    if not jax.tree.all(fits):
        raise UserError(f"{str(path)!r} is not of this optimizer's theta: shapes differ")
    return jax.tree.map(jnp.asarray, restored)


def _raw(key: Array) -> Array:
    """A key of the old kind: two integers, which haiku and they check for."""
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key


def _stack(iterator: Any, number: int) -> Batch:
    drawn = [next(iterator) for _ in range(number)]
    return jax.tree.map(lambda *xs: jnp.stack([jnp.asarray(x) for x in xs]), *drawn)


def _batch_of(batches: Batch, index: Array) -> Batch:
    return jax.tree.map(lambda x: x[index], batches)


def _batches_in(batches: Batch) -> int:
    return jax.tree.leaves(batches)[0].shape[0]
