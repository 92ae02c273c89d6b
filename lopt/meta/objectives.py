"""Objectives of meta-training: how much each inner loss of a run counts."""

import abc
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.base.checks import POSITIVE, checked, number
from lopt.base.parts import Parts

Steps = Float[Array, "..."]
"""A number for each inner step."""

_ROUNDING = 1e-6  # of the fraction, a float32, so that the last part has its first step


class Objective(abc.ABC):
    """Maps the inner losses of a run to numbers whose mean over the run is its meta-loss."""

    @abc.abstractmethod
    def __call__(self, losses: Steps, fraction: Steps) -> Steps:
        """The contribution of each step.

        Args:
          losses: scaled and capped, so that they are finite.
          fraction: of the run that was over at each step, from 0 to 1.
        """


@dataclass(frozen=True)
class MeanLoss(Objective):
    """The loss itself, as in learned_optimization (Metz et al., arXiv 2203.11860)."""

    def __call__(self, losses: Steps, fraction: Steps) -> Steps:
        return losses


@dataclass(frozen=True)
@checked("log", power=number(0), floor=POSITIVE)
class LogLoss(Objective):
    """A mean of logarithms, late steps weighing more: (power + 1) fraction^power log(loss + floor).

    A loss twice as low counts alike on every scale. With power 0 all steps weigh alike; with a
    growing power it tends to the logarithm of the last loss, and its gradients get noisier.

    Attributes:
      power: 0 or more.
      floor: below it lower losses hardly count; positive.
    """

    power: float = 2.0
    floor: float = 1e-3

    def __call__(self, losses: Steps, fraction: Steps) -> Steps:
        logs = jnp.log(jnp.maximum(losses, 0) + self.floor)
        return (self.power + 1) * fraction**self.power * logs


@dataclass(frozen=True)
@checked("end", part=number(above=0, most=1))
class EndLoss(Objective):
    """The mean loss of the last part of a run: of what a run ends with, as in the UNF paper.

    Only a run's last truncations have a gradient, so that estimates are noisier than those of the
    mean over the run: with the whole run as its part it is `MeanLoss`.

    Attributes:
      part: how much of the run counts, above 0 and up to 1.
    """

    part: float = 0.05

    def __call__(self, losses: Steps, fraction: Steps) -> Steps:
        start = 1 - self.part - _ROUNDING
        return jnp.where(fraction >= start, losses / self.part, 0)


OBJECTIVES = Parts("objective", Objective, mean=MeanLoss, log=LogLoss, end=EndLoss)
"""The objectives that a config can name."""
