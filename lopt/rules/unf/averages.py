"""Exponential moving averages of gradients, each stored once for all features that read it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lopt.base.mesh import laid_out_like
from lopt.rules.units import Reading, averaged


class Average(NamedTuple):
    r"""An average that a feature reads.

    With :math:`g_t` the gradient of step t = 1, 2, ..., :math:`\beta` the decay and k the order,
    it is

    .. math:: a_t = \beta a_{t-1} + (1 - \beta) g_t^k, \qquad a_0 = 0,

    and a feature reads :math:`a_t / (1 - \beta^t)`, as in Adam (Kingma & Ba, arXiv 1412.6980).

    Attributes:
      order: 1 for a momentum, 2 for a second moment.
      decay: from 0 to below 1.
    """

    order: int
    decay: float

    @property
    def name(self) -> str:
        """Such as "momentum_0.9"."""
        return f"{'momentum' if self.order == 1 else 'second_moment'}_{self.decay:g}"


def init_averages(reads: Iterable[Average], params: PyTree[Array]) -> dict[str, PyTree[Array]]:
    """Zeros for each distinct average, a tree like the params by its name."""

    def zeros(p: Array) -> Array:
        return laid_out_like(jnp.zeros_like(p, jnp.float32), p)

    return {average.name: jax.tree.map(zeros, params) for average in sorted(set(reads))}


def advance(
    state: Mapping[str, Array], reads: Iterable[Average], grad: Array, reading: Reading
) -> dict[str, Float[Array, "..."]]:
    """The averages of one tensor after another gradient.

    Args:
      state: the averages before.
      reads: which ones.
      grad: the gradient.
      reading: how it is read.
    """
    g = reading.of(grad)
    return {
        a.name: averaged(state[a.name], g**a.order, a.decay, reading.change**a.order, reading.moves)
        for a in sorted(set(reads))
    }
