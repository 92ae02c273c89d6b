"""A module of a user: a task, a feature, a rule, and functions that make something else."""

from dataclasses import dataclass

import jax.numpy as jnp
import optax

from lopt.rules import Feature, Rule, UNFRule
from lopt.tasks import quadratic


def bowl(dimension=3, condition=2.0):
    return quadratic(dimension, condition)


def flexible(**arguments):
    return quadratic(**arguments)


def nothing():
    return 3


@dataclass(frozen=True)
class Cube(Feature):
    """The cube of the gradient."""

    scale: float = 1.0
    channels = 1

    def __call__(self, grad, param, read):
        return self.scale * grad[..., None] ** 3


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


def cubes(width=2):
    """A rule over parameters with a user-defined feature."""
    return UNFRule("pointwise", (width,), ("gradient", "user_parts:Cube(scale=0.5)"))


def descent(learning_rate, momentum=0.0):
    return optax.sgd(learning_rate, momentum)
