"""A module of a user: a task, a direction, a rule, and functions that make something else."""

from dataclasses import dataclass

import jax.numpy as jnp
import optax

from lopt.rules import Direction, Feature, GatesRule, Rule
from lopt.tasks import quadratic


def bowl(dimension=3, condition=2.0):
    return quadratic(dimension, condition)


def flexible(**arguments):
    return quadratic(**arguments)


def nothing():
    return 3


@dataclass(frozen=True)
class Sign(Direction):
    """The sign of the gradient."""

    scale: float = 1.0

    @property
    def reads(self):
        return ()

    def __call__(self, tensor, settings):
        return self.scale * jnp.sign(tensor.grad)


@dataclass(frozen=True)
class Cube(Feature):
    """The cube of the gradient."""

    channels = 1

    def __call__(self, grad, param, read):
        return grad[..., None] ** 3


@dataclass(frozen=True)
class OneRate(Rule):
    """Gradient descent with one meta-parameter, the logarithm of a factor of its rate."""

    start: float = 0.0

    @property
    def tied(self):
        return False

    def init(self, key, spec):
        return {"log": jnp.float32(self.start)}

    def scale_by_rule(self, theta, spec=None, total_steps=None):
        scale = optax.scale(jnp.exp(theta["log"]))
        return optax.with_extra_args_support(scale)


def signs(width=4):
    """A rule of gates with a user-defined direction."""
    return GatesRule(("adam", "user_parts:Sign(scale=0.5)"), (0.0, 1.0), width=width)


def descent(learning_rate, momentum=0.0):
    return optax.sgd(learning_rate, momentum)
