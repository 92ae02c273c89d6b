"""The directions of which a rule of gates makes a step, each with its formula and paper."""

import math
from dataclasses import dataclass
from types import MappingProxyType

import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.base.checks import DECAY, POSITIVE, SIZE, integer, number, set_checked
from lopt.base.mesh import gathered
from lopt.base.parts import Parts
from lopt.rules.averages import Average, root
from lopt.rules.direction import Direction, Memory, OfMomenta, Tensor, matrix_of
from lopt.rules.orthogonal import orthogonalize
from lopt.rules.rotations import begun, turn
from lopt.rules.steps import unit_rms


@dataclass(frozen=True)
class Adam(OfMomenta):
    """A mixture of momenta over the root of the second moment (Kingma & Ba, arXiv 1412.6980).

        m / (sqrt(v) + epsilon),    m = sum_k softmax(settings)_k m_k

    Of a matrix it is scaled to unit root mean square, as in Celo2 (arXiv 2602.19142). A vector or
    a scalar keeps its length, which falls as the noise in its gradients grows.

    Attributes:
      decays: of the momenta that are mixed.
      second_decay: of the second moment.
      nominal: the mixture begins mostly at the decay nearest to it.
      epsilon: added to the root.
    """

    second_decay: float = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse decays and an epsilon that are not valid."""
        super().__post_init__()
        set_checked(self, "adam", second_decay=DECAY, epsilon=POSITIVE)

    @property
    def reads(self) -> tuple[Average, ...]:
        return (*super().reads, Average(2, self.second_decay))

    def __call__(
        self, tensor: Tensor, settings: Float[Array, " settings"], memory: Memory
    ) -> tuple[Float[Array, "..."], Memory]:
        mixed = tensor.mixture(self.decays, settings)
        second = root(tensor.average(2, self.second_decay))
        ratio = mixed / (second + self.epsilon / tensor.unit)
        return unit_rms(ratio) if tensor.inputs else ratio, memory


@dataclass(frozen=True)
class Momentum(OfMomenta):
    """A mixture of momenta, scaled to unit root mean square: normalized gradient descent.

    Attributes:
      decays: of the momenta that are mixed.
      nominal: the mixture begins mostly at the decay nearest to it.
    """

    matrices_only = True

    def __call__(
        self, tensor: Tensor, settings: Float[Array, " settings"], memory: Memory
    ) -> tuple[Float[Array, "..."], Memory]:
        return unit_rms(tensor.mixture(self.decays, settings)), memory


@dataclass(frozen=True)
class Orthogonal(OfMomenta):
    """A mixture of momenta made orthogonal as a matrix: Muon's direction (Jordan et al., 2024).

        sqrt(max(n, m)) O,    O = orthogonalize(m) of shape (n, m)

    has unit root mean square where m has full rank. A kernel is the matrix (space x inputs,
    outputs); heads and their width are one side. Each output neuron's share is divided by its root
    mean square to a learned power: with power 1 all are alike, as in NorMuon (Li et al., arXiv
    2510.05491), whose averages over steps are left out.

    Attributes:
      decays: of the momenta that are mixed.
      nominal: the mixture begins mostly at the decay nearest to it.
      iterations: of Newton and Schulz.
      power: where the power begins.
    """

    iterations: int = 5
    power: float = 0.0
    matrices_only = True

    def __post_init__(self) -> None:
        """Refuse decays that are not valid, and no iterations."""
        super().__post_init__()
        set_checked(self, "orthogonal", iterations=SIZE, power=number())

    @property
    def start(self) -> tuple[float, ...]:
        return (*super().start, self.power)

    def __call__(
        self, tensor: Tensor, settings: Float[Array, " settings"], memory: Memory
    ) -> tuple[Float[Array, "..."], Memory]:
        mixed = tensor.mixture(self.decays, settings[:-1])
        shape = matrix_of(mixed.shape, tensor.inputs)
        factor = math.sqrt(max(shape)) * orthogonalize(mixed.reshape(shape), self.iterations)
        square = jnp.mean(jnp.square(factor), 0)
        gain = jnp.exp(-0.5 * settings[-1] * jnp.log(jnp.maximum(square, 1e-4)))
        return (factor * gain).reshape(mixed.shape), memory


_LARGEST_POWER = 1.25
"""Of V, whatever the network writes."""


@dataclass(frozen=True)
class Rotated(OfMomenta):
    r"""A power of Adam's ratio in bases that turn with the gradients, by products alone.

    With M a mixture of momenta and G the gradient as matrices (short side, long side) of shape
    (n, m), an orthogonal basis L of n vectors of the short side, and R of n orthonormal vectors of
    the long side,

    .. math:: L \left(f(V) \circ L^\top M R\,R^\top + f(v) \circ L^\top M (1 - R R^\top)\right),
              \qquad f(x) = \left(\frac{x}{\mu} + d\right)^{-p},

    scaled to unit root mean square, where V is an average of the squares of :math:`L^\top G R`, v
    for each row one of what is left of :math:`L^\top G` in each of the other m - n directions of
    the long side, :math:`\mu` the mean of both over the matrix, and the power p a setting. With
    p = 1/2 and all m directions it is the direction of SOAP (Vyas et al., arXiv 2409.11321), which
    takes for L and R the eigenvectors of Shampoo's averages of G G' and G' G, that it keeps and
    factorizes by QR; larger powers step less where gradients are large, p = 1 as a natural gradient
    does.

    Here `lopt.rules.rotations.turn` turns the bases in every step against the correlations of
    :math:`L^\top (G + 2 M) R`; the sums of V over columns and over rows stand for the eigenvalues.
    There is nothing to factorize and no G G' to keep. One gradient has rank n at most, so that n
    directions of the long side hold most of what gradients have; an update takes eleven products of
    n x n by n x m, where Muon takes ten, and keeps n (m + 2 n + 1) numbers. L starts at the
    identity, R of a square matrix too, and otherwise along the first gradient.

    Attributes:
      decays: of the momenta that are mixed.
      nominal: the mixture begins mostly at the decay nearest to it.
      second_decay: of V and v.
      power: where p begins.
      damping: d; it bounds what a coordinate gets that has hardly had a gradient.
      rate: the weight of one step in a turn.
      longest: matrices whose shorter side is longer than this are not rotated: V is of G itself.
    """

    second_decay: float = 0.9
    power: float = 0.75
    damping: float = 0.01
    rate: float = 0.5
    longest: int = 4096
    matrices_only = True
    keeps = MappingProxyType({"second_moment": 2, "short": 0, "long": 0, "rest": 2})

    def __post_init__(self) -> None:
        """Refuse what cannot turn."""
        super().__post_init__()
        set_checked(
            self,
            "rotated",
            second_decay=DECAY,
            power=number(0, _LARGEST_POWER),
            damping=POSITIVE,
            rate=number(above=0, most=1),
            longest=integer(0),
        )

    @property
    def start(self) -> tuple[float, ...]:
        return (*super().start, self.power)

    def init(self, shape: tuple[int, ...], inputs: int) -> Memory:
        if not inputs:
            return {}
        short, long = sorted(matrix_of(shape, inputs))
        if short > self.longest:
            return {"second_moment": jnp.zeros((short, long))}
        return {
            "second_moment": jnp.zeros((short, short)),
            "short": jnp.eye(short),
            "long": jnp.eye(long) if long == short else jnp.zeros((long, short)),
            "rest": jnp.zeros(short),
        }

    def __call__(
        self, tensor: Tensor, settings: Float[Array, " settings"], memory: Memory
    ) -> tuple[Float[Array, "..."], Memory]:
        sides = matrix_of(tensor.grad.shape, tensor.inputs)
        mixed = tensor.mixture(self.decays, settings[:-1])
        gradient, mixed = gathered((tensor.grad.reshape(sides), mixed.reshape(sides)))
        if tall := sides[0] > sides[1]:
            gradient, mixed = gradient.T, mixed.T
        power = -jnp.clip(settings[-1], 0.0, _LARGEST_POWER)
        if "short" in memory:
            ratio, kept = self._turned(gradient, mixed, power, tensor.count, memory)
        else:
            ratio, kept = self._fixed(gradient, mixed, power, memory)
        ratio = gathered(unit_rms(ratio.T if tall else ratio))
        return ratio.reshape(tensor.grad.shape), kept

    def _fixed(
        self, gradient: Array, mixed: Array, power: Array, memory: Memory
    ) -> tuple[Float[Array, "n m"], Memory]:
        square = self._average(memory["second_moment"], jnp.square(gradient))
        mean = jnp.mean(square)
        relative = square / jnp.where(mean > 0, mean, 1)
        return mixed * (relative + self.damping) ** power, {"second_moment": square}

    def _turned(
        self,
        gradient: Float[Array, "n m"],
        mixed: Float[Array, "n m"],
        power: Float[Array, ""],
        count: Array,
        memory: Memory,
    ) -> tuple[Float[Array, "n m"], Memory]:
        n, m = gradient.shape
        short, long = memory["short"], begun(memory["long"], gradient)
        gradient, mixed = short.T @ gradient, short.T @ mixed
        inner, inner_mixed = gradient @ long, mixed @ long
        left = jnp.sum(jnp.square(gradient), 1) - jnp.sum(jnp.square(inner), 1)
        square = self._average(memory["second_moment"], jnp.square(inner))
        rest = self._average(memory["rest"], jnp.maximum(left, 0) / max(m - n, 1))

        weight = 1 - jnp.float32(self.second_decay) ** count
        energies, others = square / weight, rest / weight
        mean = (jnp.sum(energies) + (m - n) * jnp.sum(others)) / (n * m)
        mean = jnp.where(mean > 0, mean, 1)
        scale, of_others = ((x / mean + self.damping) ** power for x in (energies, others[:, None]))
        signal = inner + 2 * inner_mixed
        if m == n:
            ratio, outside = (inner_mixed * scale) @ long.T, None
        else:
            ratio = (inner_mixed * (scale - of_others)) @ long.T + of_others * mixed
            outside = (gradient + 2 * mixed).T @ signal, jnp.sum(others)
        kept = {
            "second_moment": square,
            "short": turn(short, signal, jnp.sum(energies, 1), self.rate),
            "long": turn(long, signal.T, jnp.sum(energies, 0), self.rate, outside),
            "rest": rest,
        }
        return short @ ratio, kept

    def _average(self, before: Array, now: Array) -> Array:
        return self.second_decay * before + (1 - self.second_decay) * now


@dataclass(frozen=True)
class Sign(OfMomenta):
    """The sign of a mixture of momenta: Lion's direction (Chen et al., arXiv 2302.06675).

    Attributes:
      decays: of the momenta that are mixed.
      nominal: the mixture begins mostly at the decay nearest to it.
    """

    nominal: float = 0.99
    matrices_only = True
    gradient_logit = 0.0

    def __call__(
        self, tensor: Tensor, settings: Float[Array, " settings"], memory: Memory
    ) -> tuple[Float[Array, "..."], Memory]:
        return jnp.sign(tensor.mixture(self.decays, settings)), memory


@dataclass(frozen=True)
class Factored(OfMomenta):
    """Momenta over the root of a second moment of rank one, as in Adafactor (arXiv 1804.04235).

        m_ij / (sqrt(r_i c_j / mean(r)) + epsilon)

    scaled to unit root mean square, with r and c the averages of squared gradients over columns
    and over rows: n + m numbers for a matrix of shape (n, m).

    Attributes:
      decays: of the momenta that are mixed.
      nominal: the mixture begins mostly at the decay nearest to it.
      second_decay: of r and c.
      epsilon: added to the root.
    """

    second_decay: float = 0.99
    epsilon: float = 1e-8
    matrices_only = True
    keeps = MappingProxyType({"row_squares": 2, "column_squares": 2})

    def __post_init__(self) -> None:
        """Refuse decays and an epsilon that are not valid."""
        super().__post_init__()
        set_checked(self, "factored", second_decay=DECAY, epsilon=POSITIVE)

    def init(self, shape: tuple[int, ...], inputs: int) -> Memory:
        if not inputs:
            return {}
        rows, columns = matrix_of(shape, inputs)
        return {"row_squares": jnp.zeros(rows), "column_squares": jnp.zeros(columns)}

    def __call__(
        self, tensor: Tensor, settings: Float[Array, " settings"], memory: Memory
    ) -> tuple[Float[Array, "..."], Memory]:
        sides = matrix_of(tensor.grad.shape, tensor.inputs)
        squares = jnp.square(tensor.grad.reshape(sides))
        kept = {
            name: self.second_decay * memory[name] + (1 - self.second_decay) * jnp.mean(squares, k)
            for name, k in (("row_squares", 1), ("column_squares", 0))
        }
        weight = 1 - jnp.float32(self.second_decay) ** tensor.count
        rows, columns = (root(kept[name] / weight) for name in self.keeps)
        mean = root(jnp.mean(kept["row_squares"]) / weight)
        divisor = rows[:, None] * columns / jnp.where(mean > 0, mean, 1)
        divisor = divisor + self.epsilon / tensor.unit
        mixed = tensor.mixture(self.decays, settings).reshape(sides)
        return unit_rms(mixed / divisor).reshape(tensor.grad.shape), kept


@dataclass(frozen=True)
class Weight(Direction):
    """The weights, scaled to unit root mean square: a step along them is weight decay.

    It is zero for tensors that are zero. Tensors without a gradient stay as they are, with it too:
    weight decay that they are to have as well is `lopt.optimizer`'s (as AdamW's, Loshchilov &
    Hutter, arXiv 1711.05101).
    """

    matrices_only = True

    @property
    def reads(self) -> tuple[Average, ...]:
        return ()

    def __call__(
        self, tensor: Tensor, settings: Float[Array, " settings"], memory: Memory
    ) -> tuple[Float[Array, "..."], Memory]:
        return unit_rms(tensor.param), memory


DIRECTIONS = Parts(
    "direction",
    Direction,
    adam=Adam,
    momentum=Momentum,
    sign=Sign,
    orthogonal=Orthogonal,
    rotated=Rotated,
    factored=Factored,
    weight=Weight,
)
"""The directions that a rule of gates can name."""
