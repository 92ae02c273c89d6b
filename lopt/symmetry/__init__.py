"""Permutation symmetries of weight spaces: the spec, its inference from a function, its proof."""

from lopt.symmetry.axes import Axes
from lopt.symmetry.blocks import block_groups, merge, split
from lopt.symmetry.spec import PermutationSpec, SpecError

__all__ = ["Axes", "PermutationSpec", "SpecError", "block_groups", "merge", "split"]
