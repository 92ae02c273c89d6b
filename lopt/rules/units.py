"""The unit in which a tensor's gradients are read, and which gradients count.

Rules do not mind in which unit a tensor's gradients are, and float32 does: squares overflow from
1.8e19 on. So each tensor has a unit, a power of two near the size of its gradients, in which
averages are and squares are taken. It follows the gradients, and averages are converted, which is
exact for powers of two.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_DECAY = 0.95
"""Of the running mean of squared sizes, as that of the momentum: both follow a change as fast."""

_SPIKE = 100.0
"""Times the usual size, above which a gradient is taken for a spike. With a lower threshold an MLP
on digits ended higher ("Baselines with the linear schedule" in docs/research-log.md)."""

_SHRUNK = 5.0
"""Times the usual size, to which a spike is shrunk. If it was none, the usual size has grown to the
new one within log(ratio) / 0.39 steps."""

_NOTHING = 2.0**-24
"""Times the usual size, below which a gradient would leave no trace in averages of float32."""

_SMALLEST = 2.0**-126
_LARGEST = 2.0**126
"""Between them floats are normal, and so are their inverses."""


class Unit(NamedTuple):
    """The state of one tensor's unit.

    The size of a gradient is its largest entry.

    Attributes:
      taken: gradients in the averages; those that say nothing are left out.
      value: the unit, a power of two.
      square: a running mean of squared sizes, in that unit.
    """

    taken: Int[Array, ""]
    value: Float[Array, ""]
    square: Float[Array, ""]


class Reading(NamedTuple):
    """How one gradient of a tensor is read.

    Attributes:
      scale: `of` multiplies the gradient with it, and
      fraction: then with this. Their product alone may be no normal float.
      unit: that the gradient is in after both.
      change: what numbers in the unit before are multiplied by.
      count: gradients in the averages with this one, at least 1.
      moves: whether the gradient says anything. If not, the tensor and its state stay as they are.
      usual: whether it does, and is no spike.
    """

    scale: Float[Array, ""]
    fraction: Float[Array, ""]
    unit: Float[Array, ""]
    change: Float[Array, ""]
    count: Int[Array, ""]  # type: ignore[assignment]
    moves: Bool[Array, ""]
    usual: Bool[Array, ""]

    def of(self, grad: Float[Array, "..."]) -> Float[Array, "..."]:
        """The gradient in the unit; zero if it says nothing."""
        return grad * self.scale * self.fraction


def init_unit() -> Unit:
    """The state before the first step."""
    return Unit(jnp.zeros((), jnp.int32), jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32))


def read(state: Unit, grad: Float[Array, "..."]) -> tuple[Reading, Unit]:
    """How to read a tensor's gradient, and the state after it.

    With x the size of the gradient and s the usual one, the root of the running mean of squares,
    the gradient is a spike above 100 s, and counts as one of 5 s then. It says nothing if it is
    zero or less than 2^-24 s; in the latter case the unit falls to its size, so that gradients that
    stay so small count from the next step on.

    Args:
      state: from the step before.
      grad: a finite gradient.
    """
    x = jnp.max(jnp.abs(grad)).astype(jnp.float32)
    power = jnp.clip(_power_of_two(x), _SMALLEST, _LARGEST)
    first, begun = state.taken == 0, state.taken > 0
    unit = jnp.where(first, power, state.value)
    usual = root(state.square)
    relative = x / unit
    spike = begun & (relative > _SPIKE * usual)
    nothing = x < _SMALLEST
    faint = begun & ~nothing & (relative < _NOTHING * usual)
    moves = ~(nothing | faint)

    now = jnp.where(spike, _SHRUNK * usual, relative)
    mean = jnp.where(first, now**2, _DECAY * state.square + (1 - _DECAY) * now**2)
    new = jnp.clip(unit * _power_of_two(root(jnp.where(moves, mean, 1))), _SMALLEST, _LARGEST)
    new = jnp.where(moves, new, unit)
    change = unit / new
    after = Unit(
        state.taken + moves,
        jnp.where(moves, new, jnp.where(faint, power, state.value)),
        jnp.where(moves, mean * change**2, jnp.where(faint, 1.0, state.square)),
    )
    # Powers of two below the inverse of the largest float are not normal: the fraction is apart.
    fraction = jnp.where(spike, now * change * (power / jnp.where(x > 0, x, 1)), 1.0)
    reading = Reading(
        scale=1 / jnp.where(spike, power, new),
        fraction=jnp.where(moves, fraction, 0.0),
        unit=new,
        change=change,
        count=jnp.maximum(after.taken, 1),
        moves=moves,
        usual=moves & ~spike,
    )
    return reading, after


def averaged(
    before: Float[Array, "..."],
    now: Float[Array, "..."],
    decay: float,
    keep: Float[Array, ""] | float = 1.0,
    moves: Bool[Array, ""] | bool = True,
) -> Float[Array, "..."]:
    r"""An exponential moving average after one more value, in its own dtype.

    With :math:`\beta` the decay, :math:`a_t = \beta a_{t-1} + (1 - \beta) x_t` and :math:`a_0 = 0`;
    it is debiased where it is read (`debiased`), as in Adam (Kingma & Ba, arXiv 1412.6980).

    Args:
      before: the average.
      now: the value, which has to be zero if it does not count.
      decay: from 0 to below 1.
      keep: what the average is multiplied by beside the decay: the power of `Reading.change` that
        converts it.
      moves: whether the value counts.
    """
    factor = jnp.where(moves, decay * jnp.asarray(keep), 1.0)
    return (factor * before.astype(jnp.float32) + (1 - decay) * now).astype(before.dtype)


def debiased(
    average: Float[Array, "..."], decay: float, count: Int[Array, ""]
) -> Float[Array, "..."]:
    """An average in float32, divided by the weight that `count` values have in it."""
    return average.astype(jnp.float32) / (1 - jnp.float32(decay) ** count)


def root(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The square root, whose derivative at zero is zero: a dead unit's gradients are all zero."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def unit_rms(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """A tensor scaled to unit root mean square; zero stays zero."""
    return x * inverse_rms(jnp.mean(jnp.square(x)))


def inverse_rms(mean_square: Float[Array, "..."]) -> Float[Array, "..."]:
    """One over the root of a mean square; zero for zero."""
    positive = mean_square > 0
    return jnp.where(positive, jnp.where(positive, mean_square, 1.0) ** -0.5, 0.0)


def _power_of_two(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The largest power of two that is not above a float of at least 2^-126; zero below."""
    exponent = jax.lax.bitcast_convert_type(x, jnp.int32) & 0x7F800000
    return jax.lax.bitcast_convert_type(exponent, jnp.float32)
