"""The direction of "base": a power of Adam's ratio in bases that turn with the gradients.

`scale_by_rotated` is the whole of it as an optax transformation, without anything learned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from lopt.base.checks import DECAY, POSITIVE, checked, integer, named, number
from lopt.base.mesh import gathered, laid_out_like
from lopt.rules.matrices import Matrix, guessed, matrices
from lopt.rules.rotations import begun, turn
from lopt.rules.transformation import RuleState, transformation
from lopt.rules.units import (
    Reading,
    Unit,
    averaged,
    debiased,
    init_unit,
    read,
    root,
    unit_rms,
)
from lopt.symmetry import PermutationSpec
from lopt.symmetry.spec import require_spec
from lopt.unf.cpu.calls import separately

MIXTURE = (0.0, -3.0)
"""Logits of the momentum and of the gradient in what is stepped along: 5 % of it is the gradient,
as in Nesterov's momentum with a decay of 0.95."""

_LARGEST_POWER = 1.25
"""Of the second moment, whatever a network writes. Beyond one, steps along what gradients are large
in are smaller than those of a natural gradient."""

_VECTOR_DECAY = 0.99
"""Of the second moment of vectors, nearer to Adam's: their few entries are noisier."""

_EPSILON = 1e-8
"""Added to the root of the second moment of vectors, as in Adam."""


class Squares(NamedTuple):
    """The second moments of a vector, or of a matrix that is not rotated.

    Attributes:
      square: average squares of the gradient, of its shape.
    """

    square: Float[Array, "..."]


class Rotations(NamedTuple):
    """The second moments of a matrix with a short side of n entries and a long one of m.

    Attributes:
      square: V, average squares of the gradient in the bases.
      short: an orthogonal basis of the short side, L.
      long: n orthonormal vectors of the long side, R.
      rest: v, the average squares of what is outside of R, for each vector of L.
    """

    square: Float[Array, "n n"]
    short: Float[Array, "n n"]
    long: Float[Array, "m n"]
    rest: Float[Array, " n"]


Moments = Squares | Rotations


class TensorState(NamedTuple):
    """The state of one tensor beside its momentum; the fields of a stack have a leading axis.

    Attributes:
      unit: that gradients are read in.
      moments: of the gradients, in that unit.
      inputs: the size of a matrix' inputs (`lopt.rules.input_sizes`), where a rule reads it.
    """

    unit: Unit
    moments: Moments
    inputs: Float[Array, " 2"] | None = None


class Settings(NamedTuple):
    """Numbers that vary the direction of a tensor.

    Attributes:
      mixture: logits of the weights of the momentum and of the gradient.
      power: p, of matrices only.
    """

    mixture: Float[Array, " 2"]
    power: Float[Array, ""]


@dataclass(frozen=True)
@checked(
    "rotated",
    decay=DECAY,
    second_decay=DECAY,
    power=number(0, _LARGEST_POWER),
    damping=POSITIVE,
    rate=number(above=0, most=1),
    longest=integer(0),
    momentum_dtype=named("momentum_dtype", ("float32", "bfloat16")),
)
class Rotated:
    """The constants of the direction; see `scale_by_rotated`.

    Their values are from "The direction decides, not the gates" and "Bases that lag, and tables" in
    docs/research-log.md.
    """

    decay: float = 0.95
    # Decays from 0.9 to 0.99 make no difference where bases follow; the shorter one follows.
    second_decay: float = 0.9
    # 2 to 4 % below SOAP's 0.5 on MLPs and a ViT; larger ones are better on a GPT and lose small
    # autoencoders.
    power: float = 0.75
    # At power one, a tenth of it ended higher on a GPT (2.263 for 2.250).
    damping: float = 0.01
    # At 0.1 the bases of a GPT's matrices lag; at 0.8 an autoencoder got worse.
    rate: float = 0.5
    longest: int = 4096
    momentum_dtype: str = "float32"

    @property
    def settings(self) -> Settings:
        """Those that nothing varies."""
        return Settings(jnp.asarray(MIXTURE, jnp.float32), jnp.float32(self.power))

    def init_momentum(self, param: Float[Array, "..."]) -> Float[Array, "..."]:
        """Zeros in the dtype in which the momentum is averaged."""
        return laid_out_like(jnp.zeros_like(param, jnp.dtype(self.momentum_dtype)), param)

    def init_tensor(self, matrix: Matrix, param: Float[Array, "..."]) -> TensorState:
        """The state of a tensor before its first step."""
        n, m = sorted(matrix.sides)
        moments: Moments
        if matrix.inputs and n <= self.longest:
            # A long side's basis starts along the first gradient (`begun`): no choice of n of its m
            # coordinates would be equivariant.
            long = jnp.eye(m) if n == m else jnp.zeros((m, n))
            moments = Rotations(jnp.zeros((n, n)), jnp.eye(n), long, jnp.zeros(n))
            moments = matrix.copied(jax.tree.map(lambda x: x.astype(jnp.float32), moments))
        else:
            moments = Squares(matrix.separated(jnp.zeros_like(param, jnp.float32)))
        # Whole on each device: params in boxes tell nothing of how these arrays could lie.
        return gathered(TensorState(matrix.copied(init_unit()), moments), like=param)

    def read(
        self, grad: Float[Array, "..."], momentum: Float[Array, "..."], unit: Unit
    ) -> tuple[Reading, Float[Array, "..."], Unit]:
        """How to read a gradient, and the momentum and the unit after it."""
        reading, unit = read(unit, grad)
        momentum = averaged(momentum, reading.of(grad), self.decay, reading.change, reading.moves)
        return reading, momentum, unit

    def step(
        self,
        matrix: Matrix,
        grad: Float[Array, "..."],
        momentum: Float[Array, "..."],
        reading: Reading,
        moments: Moments,
        settings: Settings,
    ) -> tuple[Float[Array, "..."], Moments]:
        """The direction of one tensor, zero if its gradient says nothing, and its moments.

        Args:
          matrix: its layout.
          grad: its gradient.
          momentum: with this gradient.
          reading: of the gradient.
          moments: before this gradient.
          settings: of this step.
        """
        g = reading.of(grad)
        of_momentum, of_gradient = jax.nn.softmax(settings.mixture)
        mixed = of_momentum * debiased(momentum, self.decay, reading.count) + of_gradient * g
        square = moments.square * reading.change**2
        after: Moments
        if isinstance(moments, Rotations):
            before = moments._replace(square=square, rest=moments.rest * reading.change**2)
            g, mixed = gathered((matrix.arranged(g), matrix.arranged(mixed)))
            if tall := matrix.sides[0] > matrix.sides[1]:
                g, mixed = g.T, mixed.T
            direction, after = self._rotated(g, mixed, before, reading.count, settings.power)
            direction = gathered(unit_rms(direction.T if tall else direction))
            direction = matrix.restored(direction)
        elif matrix.inputs:
            after = Squares(averaged(square, jnp.square(g), self.second_decay))
            mean = jnp.mean(after.square)
            direction = unit_rms(mixed * self._scale(after.square, mean, settings.power))
        else:
            after = Squares(averaged(square, jnp.square(g), _VECTOR_DECAY))
            divisor = root(debiased(after.square, _VECTOR_DECAY, reading.count))
            # Not scaled to unit length: the steps of vectors shrink as the noise in them grows.
            direction = mixed / (divisor + _EPSILON / reading.unit)
        after = jax.tree.map(partial(jnp.where, reading.moves), after, moments)
        return jnp.where(reading.moves, direction, 0), after

    def _rotated(
        self,
        gradient: Float[Array, "n m"],
        mixed: Float[Array, "n m"],
        before: Rotations,
        count: Int[Array, ""],
        power: Float[Array, ""],
    ) -> tuple[Float[Array, "n m"], Rotations]:
        """The direction of a matrix, of any length, and its moments."""
        n, m = gradient.shape
        short, long = before.short, begun(before.long, gradient)
        gradient, mixed = short.T @ gradient, short.T @ mixed
        inner, inner_mixed = gradient @ long, mixed @ long
        left = jnp.sum(jnp.square(gradient), 1) - jnp.sum(jnp.square(inner), 1)
        left = jnp.maximum(left, 0) / max(m - n, 1)
        square = averaged(before.square, jnp.square(inner), self.second_decay)
        rest = averaged(before.rest, left, self.second_decay)

        energies, others = (debiased(x, self.second_decay, count) for x in (square, rest))
        mean = (jnp.sum(energies) + (m - n) * jnp.sum(others)) / (n * m)
        scale, of_others = (self._scale(x, mean, power) for x in (energies, others[:, None]))
        # Correlations of gradients alone end 0.7 % higher, and those of momenta alone 0.8 % ("The
        # direction decides, not the gates" in docs/research-log.md).
        signal = inner + 2 * inner_mixed
        if m == n:
            ratio, outside = (inner_mixed * scale) @ long.T, None
        else:
            ratio = (inner_mixed * (scale - of_others)) @ long.T + of_others * mixed
            outside = (gradient + 2 * mixed).T @ signal, jnp.sum(others)
        after = Rotations(
            square,
            turn(short, signal, jnp.sum(energies, 1), self.rate),
            turn(long, signal.T, jnp.sum(energies, 0), self.rate, outside),
            rest,
        )
        return short @ ratio, after

    def _scale(
        self, moment: Float[Array, "..."], mean: Float[Array, ""], power: Float[Array, ""]
    ) -> Float[Array, "..."]:
        """f(x) of `scale_by_rotated`."""
        relative = moment / jnp.where(mean > 0, mean, 1)
        return (relative + self.damping) ** -jnp.clip(power, 0.0, _LARGEST_POWER)


def scale_by_rotated(
    spec: PermutationSpec | None = None,
    *,
    decay: float = 0.95,
    second_decay: float = 0.9,
    power: float = 0.75,
    damping: float = 0.01,
    rate: float = 0.5,
    longest: int = 4096,
    momentum_dtype: str = "float32",
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale gradients by a power of Adam's ratio in bases that turn with them.

    With M a mixture of the momentum and 5 % of the gradient, G the gradient, both as matrices
    (short side, long side) of shape (n, m), an orthogonal basis L of n vectors of the short side,
    and R of n orthonormal vectors of the long side, the direction of a matrix is

    .. math:: L \left(f(V) \circ L^\top M R\,R^\top + f(v) \circ L^\top M (1 - R R^\top)\right),
              \qquad f(x) = \left(\frac{x}{\mu} + d\right)^{-p},

    scaled to unit root mean square, where V is an average of the squares of :math:`L^\top G R`, v
    for each row one of what is left of :math:`L^\top G` in each of the other m - n directions of
    the long side, and :math:`\mu` the mean of both over the matrix. With p = 1/2 and all m
    directions it is the direction of SOAP (Vyas et al., arXiv 2409.11321), which takes for L and R
    the eigenvectors of Shampoo's averages of G G' and G' G, that it stores and factorizes by QR;
    larger powers step less where gradients are large, p = 1 as a natural gradient does. Vectors and
    scalars have Adam's direction (Kingma & Ba, arXiv 1412.6980), whose length falls as the noise in
    their gradients grows.

    `lopt.rules.rotations.turn` turns the bases in every step against the correlations of
    :math:`L^\top (G + 2 M) R`; the sums of V over columns and over rows stand for the eigenvalues.
    There is nothing to factorize, and no G G' is stored. One gradient has rank n at most, so that n
    directions of the long side hold most of what gradients have. An update takes eleven products of
    n x n by n x m, where Muon takes ten, and its state has n (m + 2 n + 1) numbers beside the
    momentum. L starts at the identity, R of a square matrix too, and otherwise along the first
    gradient.

    A kernel is the matrix (space x inputs, outputs); heads and their width are one side. The
    transformation is equivariant: permuting neurons in params and gradients permutes its output.

    Args:
      spec: the neuron groups of the params, `lopt.infer_spec(loss, params, batch)`, which say what
        a tensor's sides are. Without one, the last axis is the output side.
      decay: of the momentum.
      second_decay: of V and v.
      power: p.
      damping: d; it bounds the steps along a coordinate that has hardly had a gradient.
      rate: the weight of one step in a turn.
      longest: matrices whose shorter side is longer than this are not rotated: V is of G itself.
      momentum_dtype: in which the momentum is stored, "float32" or "bfloat16".

    Returns:
      A transformation whose `update` needs the params, to be chained with a learning rate.
      `RotatedRule` also divides a matrix' directions by the root of its fan-in.

    Raises:
      UserError: for a number out of its range.
      SpecError: if the spec is no `PermutationSpec`; from `init`, if the params do not fit it.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> optimizer = optax.chain(scale_by_rotated(), optax.scale_by_learning_rate(0.03))
      >>> params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
      >>> def loss(params): return jnp.sum((jnp.arange(3.0) @ params["w"] + params["b"]) ** 2)
      >>> state = optimizer.init(params)
      >>> for _ in range(100):
      ...     updates, state = optimizer.update(jax.grad(loss)(params), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> bool(loss(params) < 0.1)
      True
    """
    rotated = Rotated(decay, second_decay, power, damping, rate, longest, momentum_dtype)
    layout = layout_for(spec)

    def update(
        grads: PyTree[Array], params: PyTree[Array], state: RuleState, extra: dict[str, Any]
    ) -> tuple[PyTree[Array], dict[str, PyTree[Array]], PyTree[TensorState]]:
        del extra
        structure: Any = jax.tree.structure(params)
        found = [
            separately(_read_and_step, *of_tensor, static=(rotated, matrix.alone))
            for matrix, *of_tensor in zip(
                layout(params),
                *map(structure.flatten_up_to, (grads, state.averages["momentum"], state.tensors)),
                strict=True,
            )
        ]
        directions, momenta, tensors = map(structure.unflatten, zip(*found, strict=True))
        return directions, {"momentum": momenta}, gathered(tensors)

    return transformation(lambda params: init_tensors(rotated, layout(params), params), update)


Layout = Callable[[PyTree[Array]], list[Matrix]]
"""params -> the layout of its leaves"""


def layout_for(spec: PermutationSpec | None) -> Layout:
    """The function that lays out params by a spec, or guesses without one."""
    if spec is None:
        return guessed
    require_spec(spec)
    return lambda params: matrices(spec.like(params))


def init_tensors(
    rotated: Rotated, layout: list[Matrix], params: PyTree[Array]
) -> tuple[dict[str, PyTree[Array]], PyTree[TensorState]]:
    """The momenta and the states of all tensors before the first step."""
    states = [
        rotated.init_tensor(m, p) for m, p in zip(layout, jax.tree.leaves(params), strict=True)
    ]
    momenta = jax.tree.map(rotated.init_momentum, params)
    return {"momentum": momenta}, jax.tree.unflatten(jax.tree.structure(params), states)


def for_copies(function: Callable[..., Any], matrix: Matrix) -> Callable[..., Any]:
    """A function of one matrix or vector as one of a tensor that may be a stack of them."""
    return jax.vmap(function) if matrix.stack else function


def _read_and_step(
    rotated: Rotated, matrix: Matrix, grad: Array, momentum: Array, state: TensorState
) -> tuple[Array, Array, TensorState]:
    def of_one(grad: Array, momentum: Array, state: TensorState) -> tuple[Any, ...]:
        reading, momentum, unit = rotated.read(grad, momentum, state.unit)
        settings = rotated.settings
        direction, moments = rotated.step(matrix, grad, momentum, reading, state.moments, settings)
        return direction, momentum, TensorState(unit, moments)

    grads, momenta = map(matrix.separated, (grad, momentum))
    direction, momenta, state = for_copies(of_one, matrix)(grads, momenta, state)
    return matrix.joined(direction, grad), matrix.joined(momenta, grad), state
