"""Permutation symmetries of weight spaces: the spec, its inference from a function, its check."""

from lopt.symmetry.axes import Axes
from lopt.symmetry.blocks import block_groups, merge_blocks, split_blocks
from lopt.symmetry.check import SpecCheck, check_spec
from lopt.symmetry.infer import UnknownPrimitiveWarning, infer_spec
from lopt.symmetry.interpret import InferenceError
from lopt.symmetry.outside import FixedUnitsWarning
from lopt.symmetry.primitives import register_primitive
from lopt.symmetry.spec import PermutationSpec, SpecError
from lopt.symmetry.walk import Equation

__all__ = [
    "Axes",
    "Equation",
    "FixedUnitsWarning",
    "InferenceError",
    "PermutationSpec",
    "SpecCheck",
    "SpecError",
    "UnknownPrimitiveWarning",
    "block_groups",
    "check_spec",
    "infer_spec",
    "merge_blocks",
    "register_primitive",
    "split_blocks",
]
