"""Learned optimizers in JAX: meta-train them, use them through optax, compare them with Adam."""

from lopt.rules import LearnedOptimizer, load, optimizer, save
from lopt.symmetry import Axes, PermutationSpec, check_spec, infer_spec, register_rule

__all__ = [
    "Axes",
    "LearnedOptimizer",
    "PermutationSpec",
    "check_spec",
    "infer_spec",
    "load",
    "optimizer",
    "register_rule",
    "save",
]
