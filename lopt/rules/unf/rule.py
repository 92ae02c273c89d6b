"""The rule over parameters: features, a UNF over them, and the step that they make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from lopt.base.checks import POSITIVE, SIZE, TEXT, checked, named, number, sequence
from lopt.base.errors import UserError
from lopt.base.mesh import gathered
from lopt.base.parts import build
from lopt.rules.matrices import unrelated
from lopt.rules.rule import Rule, Theta
from lopt.rules.transformation import RuleState, promoting, transformation
from lopt.rules.unf.averages import Average, advance, init_averages
from lopt.rules.unf.features import FEATURES, Feature, Read
from lopt.rules.unf.inputs import NORMALIZATIONS, TIMES, Normalization
from lopt.rules.unf.steps import STEPS, Step
from lopt.rules.units import Unit, init_unit, read
from lopt.symmetry import PermutationSpec
from lopt.unf import UNF
from lopt.unf.network import layer_kinds


@dataclass(frozen=True)
@checked(
    "unf",
    widths=sequence(SIZE),
    features=sequence(TEXT, 1),
    time_scales=sequence(POSITIVE),
    time=named("time embedding", TIMES),
    output_scale=number(0),
)
class UNFRule(Rule):
    r"""A learned optimizer whose update rule is a universal neural functional.

    At step t, with :math:`\eta_t` the learning rate, :math:`F_t` the features of all parameters,
    normalized tensor by tensor, :math:`\tau_t` an embedding of the step, and :math:`n_t` the
    nominal direction,

    .. math:: p \leftarrow p - \eta_t \, \mathrm{step}(n_t, \mathrm{UNF}_\theta(F_t, \tau_t)).

    The rule commutes with the permutations of the spec: permuting a model's neurons permutes the
    updates (Zhou, Finn & Harrison, arXiv 2402.05232). All fields are plain data: parts are named
    by text, `"name"` or `"name(argument=value)"`.

    Attributes:
      layers: the kind of every layer, or one kind per layer: "relational" or "pointwise", whose
        theta fits any architecture, or "exact", whose theta is tied to one.
      widths: channels after each hidden layer.
      features: what is read of each parameter; names in `FEATURES`.
      nominal: a feature of one channel: the direction that the network corrects.
      step: how both make a step; a name in `STEPS`.
      time_scales: steps at which the embedding of the time saturates.
      time: how it is embedded; a name in `TIMES`.
      normalization: of the features of a tensor; a name in `NORMALIZATIONS`.
      output_scale: what the last layer's first coefficients are multiplied by: the smaller, the
        nearer a rule starts to its nominal direction.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from lopt.symmetry import Axes
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
    step: str = "normalized"
    time_scales: Sequence[float] = field(default=(3.0, 10.0, 30.0, 100.0, 300.0, 1000.0))
    time: str = "from_zero"
    normalization: str = "each_channel"
    output_scale: float = 0.1

    def __post_init__(self) -> None:
        """Build the parts once, so that a wrong name is found before anything is compiled."""
        if not isinstance(self.layers, str | list | tuple):
            raise UserError(f"unf: layers must be a name, or one for each, not {self.layers!r}")
        if not isinstance(self.layers, str):
            object.__setattr__(self, "layers", tuple(self.layers))
        if self._nominal.channels != 1:
            raise UserError(
                f"the nominal direction needs one channel, and {self.nominal} has "
                f"{self._nominal.channels}"
            )
        _ = self._features, self._step, self._normalization, self._kinds

    @cached_property
    def _features(self) -> tuple[Feature, ...]:
        return tuple(build(FEATURES, text) for text in self.features)

    @cached_property
    def _nominal(self) -> Feature:
        return build(FEATURES, self.nominal)

    @cached_property
    def _step(self) -> Step:
        return build(STEPS, self.step)

    @cached_property
    def _normalization(self) -> Normalization:
        return build(NORMALIZATIONS, self.normalization)

    @cached_property
    def _kinds(self) -> tuple[str, ...]:
        return layer_kinds(self.layers, len(self.widths) + 1)

    @cached_property
    def _reads(self) -> frozenset[Average]:
        return frozenset(a for f in (*self._features, self._nominal) for a in f.reads)

    @property
    def tied(self) -> bool:
        return "exact" in self._kinds

    def network(self, spec: PermutationSpec) -> UNF:
        """The flax module that maps features to outputs."""
        features = (*self.widths, self._step.outputs)
        return UNF(spec, features, self.layers, output_scale=self.output_scale)

    @promoting
    def init(self, key: Array, spec: PermutationSpec) -> Theta:
        channels = sum(f.channels for f in self._features) + len(self.time_scales)

        @jax.jit
        def init(key: Array) -> Theta:  # the example takes memory if it is made outside
            shapes = (spec.shape(axes) for _, axes in spec.entries)
            example = [jnp.zeros((*shape, channels)) for shape in shapes]
            structure = jax.tree.structure(spec.axes)
            return self.network(spec).init(key, jax.tree.unflatten(structure, example))

        return init(key)

    def scale_by_rule(
        self,
        theta: Theta,
        spec: PermutationSpec | None = None,
        total_steps: int | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        del total_steps
        if spec is None and set(self._kinds) != {"pointwise"}:
            raise UserError(
                "this rule reads how neurons connect: "
                "pass spec=lopt.infer_spec(loss, params, batch)"
            )

        def spec_of(params: PyTree[Array]) -> PermutationSpec:
            if spec is None:
                return unrelated(params)
            if self.tied:
                spec.validate(params)
            return spec.like(params)

        def init(params: PyTree[Array]) -> tuple[dict[str, PyTree[Array]], PyTree[Unit]]:
            spec_of(params)  # refuses params that do not fit
            units = jax.tree.map(lambda p: gathered(init_unit(), like=p), params)
            return init_averages(self._reads, params), units

        def update(
            grads: PyTree[Array], params: PyTree[Array], state: RuleState, extra: dict[str, Any]
        ) -> tuple[PyTree[Array], dict[str, PyTree[Array]], PyTree[Unit]]:
            del extra
            scales = jnp.asarray(self.time_scales, jnp.float32)
            time = TIMES[self.time](state.count - 1, scales)
            structure: Any = jax.tree.structure(params)
            names = list(state.averages)
            of_tensors = map(structure.flatten_up_to, (grads, state.tensors))
            averages = zip(*map(structure.flatten_up_to, state.averages.values()), strict=True)
            found = [
                self._read(p, g, unit, dict(zip(names, values, strict=True)))
                for p, g, unit, values in zip(
                    jax.tree.leaves(params), *of_tensors, averages, strict=True
                )
            ]
            channels, nominal, moves, units, after = zip(*found, strict=True)
            output = self.network(spec_of(params)).apply(theta, structure.unflatten(channels), time)
            steps = [
                jnp.where(m, self._step(n, o), 0)
                for m, n, o in zip(moves, nominal, structure.flatten_up_to(output), strict=True)
            ]
            by_name = {name: structure.unflatten([a[name] for a in after]) for name in names}
            return structure.unflatten(steps), by_name, gathered(structure.unflatten(units))

        return transformation(init, update)

    def _read(
        self, param: Array, grad: Array, unit: Unit, averages: Mapping[str, Array]
    ) -> tuple[Array, Array, Array, Unit, dict[str, Array]]:
        """Normalized features of a tensor, its nominal direction, whether it moves, its state."""
        reading, unit = read(unit, grad)
        averages = advance(averages, self._reads, grad, reading)
        found = Read(averages, reading.count, reading.unit)
        g = reading.of(grad) * reading.unit
        features = jnp.concatenate([f(g, param, found) for f in self._features], -1)
        nominal = self._nominal(g, param, found)[..., 0]
        return self._normalization(features), nominal, reading.moves, unit, averages
