"""How features of a tensor, and the time, become what a network over parameters reads."""

import abc
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lopt.base.checks import POSITIVE, checked
from lopt.base.parts import Parts
from lopt.rules.units import inverse_rms


class Normalization(abc.ABC):
    """Brings the features of one tensor to a common size."""

    @abc.abstractmethod
    def __call__(self, features: Float[Array, "... channels"]) -> Float[Array, "... channels"]:
        """The features, scaled."""


@dataclass(frozen=True)
class EachChannel(Normalization):
    """Each channel scaled to unit root mean square over the tensor; zero stays zero."""

    def __call__(self, features: Float[Array, "... channels"]) -> Float[Array, "... channels"]:
        over = tuple(range(features.ndim - 1))
        largest = jnp.max(jnp.abs(features), axis=over)
        features = features / jnp.where(largest > 0, largest, 1)  # squares could overflow
        return features * inverse_rms(jnp.mean(jnp.square(features), axis=over))


@dataclass(frozen=True)
@checked("whole_tensor", limit=POSITIVE, epsilon=POSITIVE)
class WholeTensor(Normalization):
    r"""All channels clipped, and scaled by one number, as in the paper's published code.

    With c the features clipped to :math:`[-l, l]`, they are
    :math:`c / \sqrt{\epsilon + \mathrm{mean}(c^2)}`, the mean over the tensor and its channels:
    how large the channels are beside each other is kept.

    Attributes:
      limit: l.
      epsilon: added to the mean.
    """

    limit: float = 1.0
    epsilon: float = 1e-5

    def __call__(self, features: Float[Array, "... channels"]) -> Float[Array, "... channels"]:
        clipped = jnp.clip(features, -self.limit, self.limit)
        return clipped * jax.lax.rsqrt(self.epsilon + jnp.mean(jnp.square(clipped)))


NORMALIZATIONS = Parts(
    "normalization", Normalization, each_channel=EachChannel, whole_tensor=WholeTensor
)
"""The normalizations of features that a rule over parameters can name."""


def _from_zero(count: Int[Array, ""], scales: Float[Array, " scales"]) -> Float[Array, " scales"]:
    return 2 * jnp.tanh(count / scales) - 1


def _centred(count: Int[Array, ""], scales: Float[Array, " scales"]) -> Float[Array, " scales"]:
    return jnp.tanh(count / scales - 1)


TIMES = Parts("time embedding", from_zero=_from_zero, centred=_centred)
"""(steps taken, time scales s) -> 2 tanh(t / s) - 1, or, as in the paper's code, tanh(t / s - 1)"""
