"""The interface of meta-gradient estimators, and the problem that they are given."""

import abc
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array, Float, PyTree

from lopt.base.checks import number, sequence
from lopt.base.errors import UserError
from lopt.meta.objectives import MeanLoss, Objective
from lopt.tasks import Task

Theta = PyTree[Array]

LOSS_CAP = number(above=0, infinite=True)
"""The check of a cap: infinity caps nothing but NaN."""

Optimizer = Callable[[Theta], optax.GradientTransformation]


class Problem(NamedTuple):
    """A task and the learned optimizer on it, whose theta meta-training learns.

    Attributes:
      task: the inner task; its arrays are traced.
      optimizer: theta -> optax transformation, the learned optimizer. What its `init` makes of
        theta is a part of the run, and only `ES` sees a gradient through it.
      scale: what inner losses are divided by, so that tasks weigh alike.
      objective: how much each inner loss counts.
      mesh: of `particle_mesh`, the devices over which particles are spread; None for one.
    """

    task: Task
    optimizer: Optimizer
    scale: float = 1.0
    objective: Objective = MeanLoss()
    mesh: jax.sharding.Mesh | None = None


class Metrics(NamedTuple):
    """Numbers that an estimator saw while it took a gradient.

    Attributes:
      meta_loss: the mean over particles and steps of what the objective makes of the inner losses,
        scaled and capped.
      diverged: the fraction of inner runs whose last loss is above the cap or NaN, or, where
        gradients are taken through them, whose gradient is not finite.
      inner_steps: how many inner steps were taken.
      restarted: the fraction of inner runs that were lost, and in whose place fresh ones started
        (see `Truncated`).
    """

    meta_loss: Float[Array, ""]
    diverged: Float[Array, ""]
    inner_steps: int
    restarted: Float[Array, ""] | float = 0.0


def normalized(weights: Sequence[float] | None, problems: int) -> list[float]:
    """The weights of problems, scaled to a sum of one; equal ones if none are given."""
    given = sequence(number(0))("weights", (1.0,) * problems if weights is None else weights)
    if len(given) != problems:
        raise UserError(f"{len(given)} weights and {problems} problems; give one for each")
    if problems and not any(given):
        raise UserError("the weights of all problems are zero; give one that is not")
    return [w / sum(given) for w in given]


def weighted_mean(weights: Sequence[float], values: Iterable[Array]) -> Array:
    """The mean of the problems' values by weights of `normalized`."""
    return reduce(operator.add, (w * x for w, x in zip(weights, values, strict=True)))


class Estimator(abc.ABC):
    """An estimate of the gradient of the expected meta-loss with respect to theta.

    Both methods are pure; `gradient` is what one compiled meta-step holds.
    """

    @abc.abstractmethod
    def init(self, problem: Problem, theta: Theta, key: Array) -> PyTree[Array]:
        """The estimator's state before the first gradient."""

    @abc.abstractmethod
    def gradient(
        self, problem: Problem, theta: Theta, state: Any, key: Array
    ) -> tuple[Theta, Any, Metrics]:
        """A gradient estimate, the next state, and what was seen on the way."""
