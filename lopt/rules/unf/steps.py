"""How the output of a network over parameters becomes a step."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.base.checks import POSITIVE, checked, number
from lopt.base.parts import Parts
from lopt.rules.units import unit_rms


class Step(abc.ABC):
    """Combines a nominal direction with what the network wrote, tensor by tensor.

    Attributes:
      outputs: how many channels the network writes.
    """

    outputs: ClassVar[int] = 2

    @abc.abstractmethod
    def __call__(
        self, nominal: Float[Array, "..."], output: Float[Array, "... outputs"]
    ) -> Float[Array, "..."]:
        """The direction of one tensor; the step is minus the learning rate times it."""


@dataclass(frozen=True)
@checked("residual", beta=number())
class Residual(Step):
    """The paper's: `nominal + beta * output` (Zhou, Finn & Harrison, arXiv 2402.05232).

    Attributes:
      beta: scale of the learned residual.
    """

    outputs = 1

    beta: float = 1e-4

    def __call__(
        self, nominal: Float[Array, "..."], output: Float[Array, "... 1"]
    ) -> Float[Array, "..."]:
        return nominal + self.beta * output[..., 0]


@dataclass(frozen=True)
@checked("normalized", beta=number(), strength=number(), limit=POSITIVE)
class Normalized(Step):
    r"""A direction of a learned root mean square, so that the learning rate transfers.

    With u the normalization to unit root mean square over the tensor, n the nominal direction,
    :math:`o_0` and :math:`o_1` the network's outputs, and s the strength, the direction is

    .. math:: \exp(s \, \mathrm{mean}(o_1)) \; u(u(n) + \beta o_0),

    as in Celo2 (arXiv 2602.19142) but for the factor in front, which starts near one and lets the
    rule weigh tensors against each other and warm up. Where the nominal direction is zero, as that
    of a tensor whose gradients were always zero, so is the step.

    Attributes:
      beta: scale of the learned residual.
      strength: scale of the learned logarithm; zero for exactly unit root mean square.
      limit: bound of that logarithm, either way.
    """

    beta: float = 1.0
    strength: float = 1.0
    limit: float = 5.0

    def __call__(
        self, nominal: Float[Array, "..."], output: Float[Array, "... 2"]
    ) -> Float[Array, "..."]:
        moves = jnp.any(nominal != 0)
        direction = jnp.where(moves, unit_rms(unit_rms(nominal) + self.beta * output[..., 0]), 0)
        logarithm = self.strength * jnp.mean(output[..., 1])
        return jnp.exp(jnp.clip(logarithm, -self.limit, self.limit)) * direction


STEPS = Parts("step", Step, normalized=Normalized, residual=Residual)
"""The ways to make a step that a rule over parameters can name."""
