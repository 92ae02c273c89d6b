"""What a meta-gradient estimator is."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import optax
from jaxtyping import Array, PyTree

from lopt.meta.particles import Metrics, Theta
from lopt.tasks import Task


class Problem(NamedTuple):
    """What meta-training learns: theta for a learned optimizer on a task.

    Attributes:
      task: the inner task; its arrays are traced.
      optimizer: theta -> optax transformation, the learned optimizer.
    """

    task: Task
    optimizer: Callable[[Theta], optax.GradientTransformation]


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
