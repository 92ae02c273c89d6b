"""The update rule: features, a UNF over them, and the optax transformation that they make."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from lopt.errors import UserError
from lopt.parts import build
from lopt.rules.directions import DIRECTIONS, Direction, unit_rms_channels
from lopt.rules.features import FEATURES, Feature
from lopt.symmetry import Axes, PermutationSpec
from lopt.unf import UNF
from lopt.unf.network import layer_kinds

Theta = PyTree[Array]

OUTPUTS = 2
"""Channels that the network writes: a residual direction, and a logarithm of its scale."""

START = 0.1
"""Scale of the last layer's first coefficients: a rule starts near its nominal direction."""


class RuleState(NamedTuple):
    """The optimizer's state.

    Attributes:
      count: steps taken.
      features: the state of each feature.
      nominal: the state of the nominal direction.
    """

    count: Int[Array, ""]
    features: tuple[Any, ...]
    nominal: Any


@dataclass(frozen=True)
class UNFRule:
    """A learned optimizer whose update rule is a universal neural functional.

    At step t, with F_t the features of all parameters, each channel scaled to unit root mean
    square per tensor, tau_t an embedding of the step, and n_t the nominal direction,

        p <- p - learning_rate(t) * direction(n_t, UNF_theta(F_t, tau_t)).

    The rule commutes with the permutations of the spec: permuting a model's neurons permutes the
    updates (Zhou, Finn & Harrison, arXiv 2402.05232). All fields are plain data: parts are named
    by text, `"name"` or `"name(argument=value)"`.

    Attributes:
      layers: the kind of every layer, or one kind per layer: "relational" or "pointwise", whose
        theta fits any architecture, or "exact", whose theta is tied to one.
      widths: channels after each hidden layer.
      features: what is read of each parameter; names in `FEATURES`.
      nominal: a feature of one channel: the direction that the network corrects.
      direction: how both make a step; a name in `DIRECTIONS`.
      time_scales: steps at which the embedding tanh(t / scale) saturates.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
      >>> axes = {"w": Axes("in", "out"), "b": Axes("out")}
      >>> spec = PermutationSpec.for_params(axes, params, fixed=("in", "out"))
      >>> rule = UNFRule()
      >>> theta = rule.init(jax.random.key(0), spec)
      >>> optimizer = rule.optimizer(theta, learning_rate=0.01, spec=spec)
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update(params, state, params)
      >>> params = optax.apply_updates(params, updates)
    """

    layers: str | Sequence[str] = "relational"
    widths: Sequence[int] = (8,)
    features: Sequence[str] = (
        "weight",
        "gradient",
        "momentum(decays=(0.5, 0.9, 0.99))",
        "second_moment(decays=(0.9, 0.999))",
        "adam_direction(decays=(0.5, 0.9, 0.99), second_decay=0.99)",
    )
    nominal: str = "adam_direction(decays=(0.9,), second_decay=0.99)"
    direction: str = "normalized"
    time_scales: Sequence[float] = field(default=(3.0, 10.0, 30.0, 100.0, 300.0, 1000.0))

    def __post_init__(self) -> None:
        """Build the parts once, so that a wrong name is found before anything is compiled.

        Raises:
          UserError: for an unknown part, or a nominal direction of several channels.
        """
        for name in ("widths", "features", "time_scales"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not isinstance(self.layers, str):
            object.__setattr__(self, "layers", tuple(self.layers))
        if self._nominal.channels != 1:
            raise UserError(
                f"the nominal direction needs one channel, and {self.nominal} has "
                f"{self._nominal.channels}"
            )
        _ = self._features, self._direction, self._kinds

    @cached_property
    def _features(self) -> tuple[Feature, ...]:
        return tuple(build(FEATURES, text) for text in self.features)

    @cached_property
    def _nominal(self) -> Feature:
        return build(FEATURES, self.nominal)

    @cached_property
    def _direction(self) -> Direction:
        return build(DIRECTIONS, self.direction)

    @cached_property
    def _kinds(self) -> tuple[str, ...]:
        return layer_kinds(self.layers, len(self.widths) + 1)

    @property
    def tied(self) -> bool:
        """Whether theta fits one architecture only."""
        return "exact" in self._kinds

    def network(self, spec: PermutationSpec) -> UNF:
        """The flax module that maps features to outputs."""
        features = (*self.widths, OUTPUTS)
        return UNF(spec, features, self.layers, output_scale=START)

    def init(self, key: Array, spec: PermutationSpec) -> Theta:
        """Fresh meta-parameters.

        Args:
          key: a random key.
          spec: of any weight space; of the one that theta will be for, if the rule is tied.
        """
        channels = sum(f.channels for f in self._features) + len(self.time_scales)
        example = jax.tree.map(lambda axes: jnp.zeros((*spec.shape(axes), channels)), spec.axes)
        return jax.jit(self.network(spec).init)(key, example)

    def optimizer(
        self,
        theta: Theta,
        learning_rate: optax.ScalarOrSchedule,
        spec: PermutationSpec | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        """The optax transformation for params that fit the spec.

        Args:
          theta: meta-parameters.
          learning_rate: a number or an optax schedule.
          spec: the neuron groups of the params; a rule of pointwise layers needs none.

        Raises:
          UserError: if there is no spec and the rule needs one.
        """
        return optax.chain(
            self.scale_by_rule(theta, spec), optax.scale_by_learning_rate(learning_rate)
        )

    def scale_by_rule(
        self, theta: Theta, spec: PermutationSpec | None = None
    ) -> optax.GradientTransformationExtraArgs:
        """The same without learning rate and sign: it maps gradients to directions.

        Gradients and params of any float type are read as float32; directions have the type of
        the gradients. Where a mask leaves tensors out, theta reads the others and the groups on
        them; theta that is tied to an architecture needs all.
        """
        if spec is None and set(self._kinds) != {"pointwise"}:
            raise UserError(
                "this rule reads how neurons connect: "
                "pass spec=lopt.infer_spec(loss, params, batch)"
            )

        def spec_of(params: PyTree[Array]) -> PermutationSpec:
            if spec is None:
                return _unrelated(params)
            if self.tied:
                spec.validate(params)
            return spec.like(params)

        def init(params: PyTree[Array]) -> RuleState:
            spec_of(params)
            params = _float32(params)
            return RuleState(
                count=jnp.zeros((), jnp.int32),
                features=tuple(f.init(params) for f in self._features),
                nominal=self._nominal.init(params),
            )

        def update(
            updates: PyTree[Array],
            state: RuleState,
            params: PyTree[Array] | None = None,
            **extra_args: Any,
        ) -> tuple[PyTree[Array], RuleState]:
            del extra_args
            if params is None:
                raise UserError("a learned optimizer reads the params: pass them to update")
            if not jax.tree.leaves(params):
                return updates, state
            grads, params = _float32(updates), _float32(params)
            channels, states = zip(
                *(
                    f.update(grads, params, s)
                    for f, s in zip(self._features, state.features, strict=True)
                ),
                strict=True,
            )
            time = self._time(state.count)
            x = jax.tree.map(lambda *xs: _with_time(jnp.concatenate(xs, -1), time), *channels)
            nominal, nominal_state = self._nominal.update(grads, params, state.nominal)
            output = self.network(spec_of(params)).apply(theta, x)
            directions = jax.tree.map(
                lambda g, n, o: self._direction(n[..., 0], o).astype(g.dtype),
                updates,
                nominal,
                output,
            )
            return directions, RuleState(state.count + 1, states, nominal_state)

        return optax.GradientTransformationExtraArgs(init, update)

    def _time(self, count: Int[Array, ""]) -> Float[Array, " scales"]:
        return 2 * jnp.tanh(count / jnp.asarray(self.time_scales, jnp.float32)) - 1


def _float32(tree: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def _unrelated(params: PyTree[Array]) -> PermutationSpec:
    """A spec in which no two axes share a group."""
    leaves, structure = jax.tree.flatten(params)
    names = [[f"{i}.{k}" for k in range(x.ndim)] for i, x in enumerate(leaves)]
    sizes = {
        n: s for ns, x in zip(names, leaves, strict=True) for n, s in zip(ns, x.shape, strict=True)
    }
    return PermutationSpec(structure.unflatten([Axes(*ns) for ns in names]), sizes)


def _with_time(
    x: Float[Array, "... channels"], time: Float[Array, " scales"]
) -> Float[Array, "... channels_and_scales"]:
    constant = jnp.broadcast_to(time, (*x.shape[:-1], *time.shape))
    return jnp.concatenate([unit_rms_channels(x), constant], axis=-1)
