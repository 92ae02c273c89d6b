"""Learned optimizers in JAX: meta-train them, use them through optax, compare them with Adam."""

from importlib.metadata import version

import lopt.runs.command_start  # noqa: F401  before the imports below, which take seconds
from lopt.rules import LearnedOptimizer, load, optimizer, save
from lopt.symmetry import Axes, PermutationSpec, check_spec, infer_spec, register_primitive

__version__ = version("lopt")

__all__ = [
    "Axes",
    "LearnedOptimizer",
    "PermutationSpec",
    "__version__",
    "check_spec",
    "infer_spec",
    "load",
    "optimizer",
    "register_primitive",
    "save",
]
