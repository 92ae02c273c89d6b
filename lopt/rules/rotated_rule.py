"""The rule that ships: rotated directions, whose strength and settings a small network writes."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from lopt.base.checks import SIZE, checked
from lopt.base.mesh import gathered
from lopt.base.schedules import require_length
from lopt.rules.input_sizes import init_input_size, input_sizes
from lopt.rules.matrices import Matrix
from lopt.rules.rotated import (
    Moments,
    Rotated,
    Settings,
    TensorState,
    for_copies,
    init_tensors,
    layout_for,
)
from lopt.rules.rule import Rule, Theta
from lopt.rules.tensor_network import (
    FEATURES,
    MATRIX_MIXTURE,
    POWER,
    STRENGTH,
    VECTOR_MIXTURE,
    TensorNetwork,
    features,
    log_sums,
    statistics,
)
from lopt.rules.transformation import RuleState, promoting, transformation
from lopt.rules.units import Reading, Unit, debiased
from lopt.symmetry import PermutationSpec
from lopt.unf.cpu.calls import separately

_LENGTH = 1000
"""The steps of a run whose learning rate is taken as it is."""


class Observed(NamedTuple):
    """The results of the first half of an update for one tensor; for a stack, of each copy.

    Attributes:
      reading: of its gradient.
      momentum: with this gradient, of the tensor's shape.
      unit: after this gradient.
      statistics: of gradient, momentum and weights.
    """

    reading: Reading
    momentum: Float[Array, "..."]
    unit: Unit
    statistics: Float[Array, "*copies 5"]


@dataclass(frozen=True)
@checked("rotated", width=SIZE)
class RotatedRule(Rotated, Rule):
    r"""A learned optimizer that steps along rotated directions of a strength that it learned.

    With :math:`D` the direction of `scale_by_rotated` for a tensor and :math:`\eta` the learning
    rate,

    .. math:: p \leftarrow p - \eta\, l(T)\, z\, e^s D,

    where s, the mixture of momentum and gradient and the power in D are the tensor's, and z is one
    over the size of its inputs: over the root of the fan-in and, where a matrix has a bias, over
    the root mean square of its inputs, which the gradients of both tell (`lopt.rules.input_sizes`).
    It is one for tables, of which one row is read at a time, and for vectors and scalars.

    T is the run's length, and with x = 1000 / T, :math:`l = \max(x^{1/2}, x^{1/4})`: best learning
    rates were found to go with the root of 1 / T from 100 steps to 1,000, as if steps were a random
    walk that has to get as far in fewer of them, and to fall more slowly from there to 8,000.

    s and the settings are written by a `TensorNetwork` for each tensor by itself. It reads its
    shape and kind, how large its weights are and how noisy its gradients, how many matrices there
    are, and how far the run has come. Its outputs start at zero.

    A tensor whose gradient is zero stays as it is, and so does its state. Theta fits any
    architecture. Without a spec, the last axis of a tensor is its output side, and nothing is known
    of inputs and outputs of the model.

    Attributes:
      width: hidden units of the network. The other attributes are the arguments of
        `scale_by_rotated`; the network moves the power from where it starts.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from lopt.symmetry import Axes
      >>> params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
      >>> axes = {"w": Axes("in", "out"), "b": Axes("out")}
      >>> spec = PermutationSpec.for_params(axes, params, fixed=("in", "out"))
      >>> rule = RotatedRule()
      >>> theta = rule.init(jax.random.key(0), spec)
      >>> optimizer = rule.optimizer(theta, learning_rate=0.1, spec=spec, total_steps=100)
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update(params, state, params)
      >>> params = optax.apply_updates(params, updates)
    """

    width: int = 8

    @property
    def tied(self) -> bool:
        return False

    @promoting
    def init(self, key: Array, spec: PermutationSpec) -> Theta:
        del spec
        return jax.jit(TensorNetwork(self.width).init)(key, jnp.zeros((1, FEATURES)))

    def scale_by_rule(
        self,
        theta: Theta,
        spec: PermutationSpec | None = None,
        total_steps: int | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        layout_of = layout_for(spec)

        def init(params: PyTree[Array]) -> tuple[dict[str, PyTree[Array]], PyTree[TensorState]]:
            layout = layout_of(params)
            averages, tensors = init_tensors(self, layout, params)
            structure: Any = jax.tree.structure(params)
            states = [
                s if m.bias is None else s._replace(inputs=_init_inputs(m, params))
                for m, s in zip(layout, structure.flatten_up_to(tensors), strict=True)
            ]
            return averages, structure.unflatten(states)

        def update(
            grads: PyTree[Array], params: PyTree[Array], state: RuleState, extra: dict[str, Any]
        ) -> tuple[PyTree[Array], dict[str, PyTree[Array]], PyTree[TensorState]]:
            length = extra.get("total_steps", total_steps)
            length = require_length("this rule reads how far a run has come", length)
            layout = layout_of(params)
            structure: Any = jax.tree.structure(params)
            params, grads, momenta, states = map(
                structure.flatten_up_to, (params, grads, state.averages["momentum"], state.tensors)
            )
            observed = [
                separately(_observe, p, g, m, s.unit, static=(self, matrix.alone))
                for matrix, p, g, m, s in zip(layout, params, grads, momenta, states, strict=True)
            ]
            written, inputs = self._write(theta, layout, observed, states, state.count, length)
            moved = [
                separately(_step, g, o, s.moments, w, static=(self, matrix.alone))
                for matrix, g, o, s, w in zip(layout, grads, observed, states, written, strict=True)
            ]
            tensors = [
                TensorState(o.unit, moments, size)
                for (_, moments), o, size in zip(moved, observed, inputs, strict=True)
            ]
            momenta = {"momentum": structure.unflatten([o.momentum for o in observed])}
            steps = structure.unflatten([step for step, _ in moved])
            return steps, momenta, gathered(structure.unflatten(tensors))

        return transformation(init, update)

    def _write(
        self,
        theta: Theta,
        layout: list[Matrix],
        observed: list[Observed],
        states: list[TensorState],
        count: Array,
        length: Array | float,
    ) -> tuple[list[Float[Array, "copies outputs"]], list[Float[Array, "... 2"] | None]]:
        """Apply the network to all tensors, and advance the states of the sizes of inputs.

        The strengths are those times z and l(T).
        """
        found = jnp.concatenate([jnp.atleast_2d(o.statistics) for o in observed])
        inputs, sizes = input_sizes(
            [s.inputs for s in states], [_log_gradient(o) for o in observed], layout
        )
        read = features(layout, found, sizes, count, length)
        written = gathered(TensorNetwork(self.width).apply(theta, read))
        written = written.at[:, STRENGTH].add(_log_of_length(length) - log_sums(layout, sizes))
        ends = np.cumsum([matrix.copies for matrix in layout])[:-1]
        return jnp.split(written, ends), inputs


def _observe(
    rule: RotatedRule, matrix: Matrix, param: Array, grad: Array, momentum: Array, unit: Unit
) -> Observed:
    """The first half of one tensor's update: all that its own gradient tells."""

    def of_one(param: Array, grad: Array, momentum: Array, unit: Unit) -> Observed:
        reading, momentum, unit = rule.read(grad, momentum, unit)
        mean = debiased(momentum, rule.decay, reading.count)
        return Observed(reading, momentum, unit, statistics(reading.of(grad), mean, param))

    found = for_copies(of_one, matrix)(*map(matrix.separated, (param, grad, momentum)), unit)
    return found._replace(momentum=matrix.joined(found.momentum, param))


def _step(
    rule: RotatedRule,
    matrix: Matrix,
    grad: Array,
    observed: Observed,
    moments: Moments,
    written: Float[Array, "copies outputs"],
) -> tuple[Array, Moments]:
    """The second half: minus the step over the learning rate, and the moments after it."""

    def of_one(
        grad: Array, momentum: Array, reading: Reading, moments: Moments, written: Array
    ) -> tuple[Array, Moments]:
        start = rule.settings
        mixture = written[MATRIX_MIXTURE if matrix.inputs else VECTOR_MIXTURE]
        settings = Settings(start.mixture + mixture, start.power + written[POWER])
        direction, moments = rule.step(matrix, grad, momentum, reading, moments, settings)
        return jnp.exp(written[STRENGTH]) * direction, moments

    grads, momenta = map(matrix.separated, (grad, observed.momentum))
    written = written if matrix.stack else written[0]
    step, moments = for_copies(of_one, matrix)(grads, momenta, observed.reading, moments, written)
    return matrix.joined(step, grad), moments


def _init_inputs(matrix: Matrix, params: PyTree[Array]) -> Float[Array, "... 2"]:
    return gathered(matrix.copied(init_input_size()), like=params)


def _log_gradient(observed: Observed) -> Float[Array, " copies"]:
    """The log root mean squares of a tensor's gradients; zero, which counts as none, for spikes."""
    reading = observed.reading
    logs = observed.statistics[..., 0] + jnp.log(reading.unit)
    return jnp.atleast_1d(jnp.where(reading.usual, logs, 0))


def _log_of_length(length: Array | float) -> Float[Array, ""]:
    """The logarithm of l(T)."""
    shorter = jnp.log(_LENGTH / jnp.maximum(length, 1))
    return jnp.maximum(0.5 * shorter, 0.25 * shorter)
