"""The primitives that make, read and write mutable arrays.

A reference has symbols as a value has, and keeps them: whatever is written to it is permuted as
what was there before. It varies along each of its axes, since something else may be written later.
"""

import jax

from lopt.symmetry.interpret import Dims, fix_all, fixed_dims, join_values
from lopt.symmetry.symbols import Atom
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()


@HANDLERS.of("new_ref")
def new_reference(equation: Equation, value: Dims) -> list[Dims]:
    """It has the axes of the value that it begins with."""
    (shape,) = equation.out_shapes
    return [tuple(s or Atom(n) for s, n in zip(value, shape, strict=True))]


@HANDLERS.of("empty_ref")
def empty_reference(equation: Equation) -> list[Dims]:
    """Nothing is known of its axes yet."""
    (shape,) = equation.out_shapes
    return [tuple(map(Atom, shape))]


@HANDLERS.of("get", "freeze")
def read(equation: Equation, reference: Dims, *indices: Dims) -> list[Dims]:
    """All of it, or entries at positions, which are fixed."""
    if _is_whole(equation, 1):
        return [reference]
    return _at_positions(equation, reference)


@HANDLERS.of("swap", "addupdate")
def write(equation: Equation, reference: Dims, value: Dims, *indices: Dims) -> list[Dims]:
    """The value has the reference's axes; a swap returns the value before."""
    if not _is_whole(equation, 2):
        return _at_positions(equation, reference, value)
    join_values([reference, value])
    return [reference] * len(equation.out_shapes)


@HANDLERS.of("free_ref")
def free(equation: Equation, reference: Dims) -> list[Dims]:
    """Nothing comes of it."""
    return []


def _at_positions(equation: Equation, *operands: Dims) -> list[Dims]:
    fix_all(operands, "entries")
    return [fixed_dims(shape, "entries") for shape in equation.out_shapes]


def _is_whole(equation: Equation, count: int) -> bool:
    """Whether an access, of which `count` operands are no indices, takes each axis as it is."""
    tree = equation.params.get("tree")
    indexers = jax.tree.unflatten(tree, equation.constants[count:]) if tree else []
    whole = [(0, n) for n in equation.in_shapes[0]]
    return all(
        [(getattr(s, "start", None), getattr(s, "size", None)) for s in indexer.indices] == whole
        if hasattr(indexer, "indices")
        else False
        for indexer in indexers
    )
