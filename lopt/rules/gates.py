"""The rule of gates: directions mixed with weights that a small network writes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from lopt.base.checks import (
    DECAYS,
    POSITIVE,
    SIZE,
    TEXT,
    named,
    number,
    sequence,
    set_checked,
)
from lopt.base.errors import UserError
from lopt.base.mesh import gathered
from lopt.base.parts import build
from lopt.base.schedules import require_length
from lopt.rules.averages import Average, advance, debiased, init_averages
from lopt.rules.biases import biases_of, init_ratio, sizes_of_inputs
from lopt.rules.direction import Direction, Tensor
from lopt.rules.directions import DIRECTIONS
from lopt.rules.gate_features import TIMES, dynamic_features, static_features, time_features
from lopt.rules.matrices import Matrix, apart, joined, matrices, separated
from lopt.rules.rule import (
    Kept,
    Rule,
    RuleState,
    Theta,
    by_name,
    by_tensor,
    leaves_of,
    promoting,
    transformation,
    unrelated,
)
from lopt.rules.sizes import Reading, init_sizes, read
from lopt.symmetry import PermutationSpec
from lopt.unf.cpu.calls import separately
from lopt.unf.neurons import SHARING, NeuronNetwork, Statistics, statistics

_GUESS = "output"
"""What matrices are taken for without a spec, with which theta is not meta-trained: the kind whose
steps "base" begins most carefully. Taken for hidden ones, an autoencoder's hardly come down."""

_LENGTH = 1000
"""The steps of a run whose learning rate is taken as it is."""

_RATIO = "inputs.ratio"
"""The name of what is kept of a matrix that has a bias."""


@dataclass(frozen=True)
class GatesRule(Rule):
    r"""A learned optimizer that mixes directions and scales them for each tensor and each neuron.

    With the directions :math:`D_1, D_2, \ldots` of a matrix, each of unit root mean square, and the
    learning rate :math:`\eta`,

    .. math:: p_{ij} \leftarrow p_{ij} - \eta l(T)\, s z \exp(r_i + c_j)
              \sum_d \mathrm{softmax}(w)_d D_{d,ij},

    where the logarithm of s, the weights w, and the settings of each direction are the tensor's, r
    and c are its rows' and columns', and z is one over the size of what comes in: over the root of
    the fan-in and, where a matrix has a bias, over the root mean square of its inputs, which the
    gradients of both tell (`lopt.rules.biases`). It is one for tables, of which one row is read at
    a time, and for vectors and scalars, which have a direction of their own.

    T is the run's length, and with x = 1000 / T, :math:`l = \max(x^{1/2}, x^{1/4})`: best learning
    rates were found to go with the root of 1 / T from 100 steps to 1,000, as if steps were a random
    walk that has to get as far in fewer of them, and to fall more slowly from there to 8,000.

    s, w, r, c and the settings are written by a `lopt.unf.neurons.NeuronNetwork` that reads
    statistics of second order of the gradient, momenta and the weights along each unit of each
    axis, the tensor's shape and kind, how many matrices there are, and how far the run has come.
    Its outputs start at zero, so that the untrained rule is a fixed mixture of the directions.

    A tensor whose gradient is zero is left as it is, and so is what is kept of it. Theta fits any
    architecture. Without a spec, each axis is a group of its own, and nothing is known of inputs
    and outputs.

    Attributes:
      directions: of matrices, names in `DIRECTIONS`.
      weights: the logits of their mixture that the network's are added to.
      vectors: the direction of vectors and scalars.
      decays: of the momenta whose statistics the network reads.
      width: hidden units of the network.
      sharing: "group" mixes over neuron groups, "axis" reads each axis for itself, "tensor" has no
        gates of neurons.
      bound: of each logarithm that the network writes for a neuron.
      momentum_dtype: in which momenta are kept, "float32" or "bfloat16".

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from lopt.symmetry import Axes
      >>> params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
      >>> axes = {"w": Axes("in", "out"), "b": Axes("out")}
      >>> spec = PermutationSpec.for_params(axes, params, fixed=("in", "out"))
      >>> rule = GatesRule()
      >>> theta = rule.init(jax.random.key(0), spec)
      >>> optimizer = rule.optimizer(theta, learning_rate=0.1, spec=spec, total_steps=100)
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update(params, state, params)
      >>> params = optax.apply_updates(params, updates)
    """

    directions: Sequence[str] = ("rotated",)
    weights: Sequence[float] = (0.0,)
    vectors: str = "adam"
    decays: Sequence[float] = (0.95,)
    width: int = 8
    sharing: str = "group"
    bound: float = 2.0
    momentum_dtype: str = "float32"

    def __post_init__(self) -> None:
        """Build the parts once, so that a wrong name is found before anything is compiled.

        Raises:
          UserError: for an unknown part, or a setting that does not fit.
        """
        set_checked(
            self,
            "gates",
            directions=sequence(TEXT, 1),
            weights=sequence(number()),
            vectors=TEXT,
            decays=DECAYS,
            width=SIZE,
            sharing=named("sharing", SHARING),
            bound=POSITIVE,
            momentum_dtype=named("momentum_dtype", ("float32", "bfloat16")),
        )
        if len(self.weights) != len(self.directions):
            raise UserError(
                f"gates: {len(self.directions)} directions and {len(self.weights)} weights; give a "
                "weight for each"
            )
        if self._parts[-1].matrices_only:
            raise UserError(f"gates: {self.vectors!r} is for matrices only; vectors='adam' is not")

    @cached_property
    def _parts(self) -> tuple[Direction, ...]:
        """The directions of matrices and, last, that of vectors."""
        return tuple(build(DIRECTIONS, text) for text in (*self.directions, self.vectors))

    def _reads(self, inputs: int) -> frozenset[Average]:
        """The averages that are kept of a matrix with input axes, or of a vector with none."""
        parts = self._parts[:-1] if inputs else self._parts[-1:]
        return frozenset(Average(1, d) for d in self.decays).union(*(d.reads for d in parts))

    @property
    def tied(self) -> bool:
        return False

    def network(self, spec: PermutationSpec) -> NeuronNetwork:
        """The flax module that maps statistics to gates."""
        settings = sum(len(d.start) for d in self._parts)
        of_all = apart(spec, matrices(spec))
        outputs = 1 + len(self.directions) + settings
        return NeuronNetwork(of_all, self.width, 1, outputs, self.sharing)

    @promoting
    def init(self, key: Array, spec: PermutationSpec) -> Theta:
        params = jax.tree.map(lambda a: jnp.ones(spec.shape(a)), spec.axes)

        def features(params: PyTree[Array]) -> Any:
            layout = matrices(spec)
            params = separated(layout, params, params)
            averages = self._init_averages(params, spec)
            memory = self._init_memory(params, spec, known=True)
            readings, sizes = read(init_sizes(_count(layout)), params, _leading(layout))
            state = RuleState(jnp.int32(1), jnp.int32(0), sizes, averages, memory)
            return self._features(readings, params, state, spec, True, 0.0)[0]

        shapes = jax.eval_shape(features, params)
        return jax.jit(self.network(spec).init)(key, *jax.tree.map(jnp.zeros_like, shapes))

    def scale_by_rule(
        self,
        theta: Theta,
        spec: PermutationSpec | None = None,
        total_steps: int | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        def init(params: PyTree[Array]) -> Kept:
            of_params = unrelated(params) if spec is None else spec.like(params)
            sizes = init_sizes(_count(matrices(of_params)))
            memory = self._init_memory(params, of_params, known=spec is not None)
            averages = self._init_averages(params, of_params)
            return Kept(gathered(sizes, like=params), averages, gathered(memory, like=params))

        def update(
            grads: PyTree[Array], params: PyTree[Array], state: RuleState, extra: dict[str, Any]
        ) -> tuple[PyTree[Array], Kept]:
            length = extra.get("total_steps", total_steps)
            length = require_length("this rule reads how far a run has come", length)
            of_params = unrelated(params) if spec is None else spec.like(params)
            layout, like = matrices(of_params), params
            grads, params = (separated(layout, tree, like) for tree in (grads, params))
            before = {k: separated(layout, tree, like) for k, tree in state.averages.items()}
            readings, sizes = read(state.sizes, grads, _leading(layout))
            averages = self._advance(readings, before, of_params)
            state = state._replace(averages=averages)
            features, inputs, ratios = self._features(
                readings, params, state, of_params, spec is not None, length
            )
            units, tensors = gathered(self.network(of_params).apply(theta, *features))
            tensors = tensors.at[:, 0].add(_log_of_length(length) - inputs)
            steps, memory = self._step(readings, params, state, of_params, units, tensors)
            memory[_RATIO] = jax.tree.unflatten(jax.tree.structure(params), ratios)
            after = {k: joined(layout, tree, like) for k, tree in averages.items()}
            return joined(layout, steps, like), Kept(gathered(sizes), after, gathered(memory))

        return transformation(init, update)

    def _features(
        self,
        readings: PyTree[Reading],
        params: PyTree[Array],
        state: RuleState,
        spec: PermutationSpec,
        known: bool,
        length: float,
    ) -> tuple[
        tuple[list[tuple[Array, ...]], Float[Array, "tensors features"]],
        Float[Array, " tensors"],
        list[Array | None],
    ]:
        """What the network reads of the units of each tensor's axes, and of each tensor.

        Returns:
          Both, the log size of each tensor's inputs, and what is kept to know it.
        """
        leaves = leaves_of(params, readings, state.averages)
        layout = matrices(spec)
        found = [
            separately(self._statistics, *leaf, static=(bool(matrix.stack),))
            for leaf, matrix in zip(leaves, layout, strict=True)
        ]
        depth = sum(matrix.copies for matrix in layout if matrix.inputs)
        static = [
            static_features(matrix, matrix.kind if known else _GUESS, depth)
            for matrix in layout
            for _ in range(matrix.copies)
        ]
        of_tensors = jnp.concatenate([jnp.atleast_2d(f.tensor) for f in found])
        memory = by_tensor(state.memory, jax.tree.structure(params))
        kept = [of_tensor.get(_RATIO) for of_tensor in memory]
        usual, unit = (
            jnp.concatenate([jnp.atleast_1d(getattr(r, k)) for _, r, _ in leaves])
            for k in ("usual", "unit")
        )
        logs = jnp.where(usual, of_tensors[:, 0] + jnp.log(unit), 0)
        copies = [matrix.copies for matrix in layout]
        ratios, sizes = sizes_of_inputs(kept, logs, biases_of(spec, layout, known), copies)
        fan_in = np.repeat([matrix.fan_in for matrix in layout], copies)
        inputs = sizes + 0.5 * np.log(fan_in).astype(np.float32)
        dynamic = dynamic_features(of_tensors, inputs, len(self.decays))
        time = jnp.broadcast_to(time_features(state.count, length), (len(static), TIMES))
        features = jnp.concatenate([jnp.asarray(static, jnp.float32), dynamic, time], 1)
        units = [
            tuple(axis[k] for axis in f.axes) if matrix.stack else f.axes
            for f, matrix in zip(found, layout, strict=True)
            for k in range(matrix.copies)
        ]
        return (units, features), sizes, ratios

    def _statistics(
        self, stacked: bool, p: Array, reading: Reading, averages: dict[str, Array]
    ) -> Statistics:
        if stacked:
            return jax.vmap(partial(self._statistics, False))(p, reading, averages)
        g, count = reading.grad, reading.count
        momenta = {f"momentum {d:g}": debiased(averages, Average(1, d), count) for d in self.decays}
        names = tuple(momenta)
        fast, middle, slow = names[0], names[len(names) // 2], names[-1]
        signals = {"gradient": g, **momenta, "weight": p}
        pairs = (("gradient", middle), (middle, "weight"), (fast, slow))[: 2 + (fast != slow)]
        found = statistics(signals, pairs)
        # What a call returns is computed: without gates of neurons, units are not returned.
        return found._replace(axes=()) if self.sharing == "tensor" else found

    def _init_averages(
        self, params: PyTree[Array], spec: PermutationSpec
    ) -> dict[str, PyTree[Array | None]]:
        """Zeros for each average, with None for tensors of which it is not read."""
        dtype = jnp.dtype(self.momentum_dtype)
        found = [
            init_averages(self._reads(matrix.inputs), p, dtype)
            for p, matrix in zip(jax.tree.leaves(params), matrices(spec), strict=True)
        ]
        names = init_averages(self._reads(0) | self._reads(1), ())
        return by_name(found, names, jax.tree.structure(params))

    def _advance(
        self,
        readings: PyTree[Reading],
        averages: dict[str, PyTree[Array | None]],
        spec: PermutationSpec,
    ) -> dict[str, PyTree[Array | None]]:
        structure = jax.tree.structure(spec.axes)
        leaves = leaves_of(spec.axes, readings, averages)
        found = [
            advance(kept, self._reads(matrix.inputs), r.grad, r.change, r.moves)
            for (_, r, kept), matrix in zip(leaves, matrices(spec), strict=True)
        ]
        return by_name(found, averages, structure)

    def _init_memory(
        self, params: PyTree[Array], spec: PermutationSpec, known: bool
    ) -> dict[str, PyTree[Array | None]]:
        """What is kept of each tensor, by names such as "rotated.second_moment"."""
        layout = matrices(spec)
        found: list[dict[str, Array]] = [
            {
                f"{name}.{key}": value.astype(jnp.float32)
                for name, direction in self._of(matrix.inputs)
                for key, value in direction.init(matrix.shape, matrix.inputs).items()
            }
            for matrix in layout
        ]
        for kept, bias in zip(found, biases_of(spec, layout, known), strict=True):
            if bias is not None:
                kept[_RATIO] = init_ratio()
        found = [
            jax.tree.map(lambda x, n=matrix.copies: jnp.tile(x, (n, *[1] * x.ndim)), kept)
            if matrix.stack
            else kept
            for kept, matrix in zip(found, layout, strict=True)
        ]
        names = [
            f"{name}.{key}"
            for name, direction in (*self._of(0), *self._of(1))
            for key in direction.keeps
        ]
        return by_name(found, [*names, _RATIO], jax.tree.structure(params))

    def _of(self, inputs: int) -> list[tuple[str, Direction]]:
        """The directions of a matrix with input axes, or of a vector with none, and their names."""
        named = list(zip((*self.directions, self.vectors), self._parts, strict=True))
        return named[:-1] if inputs else named[-1:]

    def _step(
        self,
        readings: PyTree[Reading],
        params: PyTree[Array],
        state: RuleState,
        spec: PermutationSpec,
        units: list[tuple[Array, ...]],
        tensors: Float[Array, "tensors outputs"],
    ) -> tuple[PyTree[Array], dict[str, PyTree[Array | None]]]:
        """Minus the step over the learning rate, and what directions keep after it.

        What the network wrote has a row for each matrix, also of those in a stack.
        """
        structure = jax.tree.structure(params)
        layout = matrices(spec)
        ends = np.cumsum([matrix.copies for matrix in layout])
        found = [
            separately(
                self._step_of,
                *leaf,
                memory,
                units[end - matrix.copies : end],
                tensors[end - matrix.copies : end],
                static=(matrix,),
            )
            for leaf, memory, matrix, end in zip(
                leaves_of(params, readings, state.averages),
                by_tensor(state.memory, structure),
                layout,
                ends,
                strict=True,
            )
        ]
        steps, memories = zip(*found, strict=True)
        return jax.tree.unflatten(structure, steps), by_name(memories, state.memory, structure)

    def _step_of(
        self,
        matrix: Matrix,
        p: Array,
        reading: Reading,
        averages: dict[str, Array],
        memory: dict[str, Array],
        units: list[tuple[Array, ...]],
        outputs: Float[Array, "copies outputs"],
    ) -> tuple[Array, dict[str, Array]]:
        """The step of one tensor; of a stack, that of each of its matrices."""
        if not matrix.stack:
            return self._step_of_one(matrix, p, reading, averages, memory, units[0], outputs[0])

        def step(*of_one: Any) -> tuple[Array, dict[str, Array]]:
            return self._step_of_one(matrix, *of_one)

        stacked = tuple(map(jnp.stack, zip(*units, strict=True)))
        return jax.vmap(step)(p, reading, averages, memory, stacked, outputs)

    def _step_of_one(
        self,
        matrix: Matrix,
        p: Array,
        reading: Reading,
        averages: dict[str, Array],
        memory: dict[str, Array],
        units: tuple[Array, ...],
        outputs: Float[Array, " outputs"],
    ) -> tuple[Array, dict[str, Array]]:
        """The step of one matrix or vector, from what the network wrote for it."""
        strength, logits, settings = jnp.split(outputs, [1, 1 + len(self.directions)])
        gate = strength[0] - 0.5 * math.log(matrix.fan_in)
        for k, logs in enumerate(units if matrix.inputs else ()):
            logs = jnp.clip(logs[:, 0], -self.bound, self.bound)
            gate = gate + (logs - jnp.mean(logs)).reshape(-1, *[1] * (p.ndim - k - 1))
        p, g, averages = jax.tree.map(matrix.arranged, (p, reading.grad, averages))
        tensor = Tensor(p, g, averages, reading.count, matrix.inputs, reading.unit)
        mixed, after = self._mix(tensor, logits, settings, memory, reading.change)
        step = jnp.exp(gate) * matrix.restored(mixed)
        memory = {name: jnp.where(reading.moves, x, memory[name]) for name, x in after.items()}
        return jnp.where(reading.moves, step, 0), memory

    def _mix(
        self,
        tensor: Tensor,
        logits: Array,
        settings: Array,
        memory: dict[str, Array],
        change: Array,
    ) -> tuple[Array, dict[str, Array]]:
        ends = np.cumsum([len(d.start) for d in self._parts])[:-1]
        of_parts = jnp.split(settings, ends)
        of_parts = of_parts[:-1] if tensor.inputs else of_parts[-1:]
        found: list[Array] = []
        kept: dict[str, Array] = {}
        for (name, direction), own in zip(self._of(tensor.inputs), of_parts, strict=True):
            prefix = f"{name}."
            before = {
                key: memory[prefix + key] * change**power if power else memory[prefix + key]
                for key, power in direction.keeps.items()
                if prefix + key in memory
            }
            start = jnp.asarray(direction.start, jnp.float32)
            step, after = direction(tensor, start + own, before)
            found.append(step)
            kept |= {prefix + key: value for key, value in after.items()}
        if not tensor.inputs:
            return found[0], kept
        weights = jax.nn.softmax(jnp.asarray(self.weights, jnp.float32) + logits)
        return sum(w * d for w, d in zip(weights, found, strict=True)), kept


def _log_of_length(length: Array | float) -> Float[Array, ""]:
    """The logarithm of what steps are multiplied by in a run of this length."""
    shorter = jnp.log(_LENGTH / jnp.maximum(length, 1))
    return jnp.maximum(0.5 * shorter, 0.25 * shorter)


def _count(layout: Sequence[Matrix]) -> int:
    """How many matrices and vectors there are, those of stacks one by one."""
    return sum(matrix.copies for matrix in layout)


def _leading(layout: Sequence[Matrix]) -> list[int]:
    """How many leading axes of each separated tensor run over the matrices of a stack."""
    return [int(bool(matrix.stack)) for matrix in layout]
