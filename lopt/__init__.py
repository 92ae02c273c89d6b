"""Learned optimizers in JAX."""

from lopt.symmetry import Axes, PermutationSpec

__all__ = ["Axes", "PermutationSpec"]
