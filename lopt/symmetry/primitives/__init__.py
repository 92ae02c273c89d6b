"""How the primitives of a jaxpr act on the symmetries of their operands: their table."""

from collections.abc import Callable

from lopt.symmetry.primitives import (
    contraction,
    control,
    elementwise,
    indexing,
    linear_algebra,
    reduction,
    references,
    structure,
)
from lopt.symmetry.walk import Handler, Handlers

HANDLERS = Handlers(
    contraction.HANDLERS
    | control.HANDLERS
    | elementwise.HANDLERS
    | indexing.HANDLERS
    | linear_algebra.HANDLERS
    | reduction.HANDLERS
    | references.HANDLERS
    | structure.HANDLERS
)
"""The handler of each primitive that `infer_spec` knows."""


def register_primitive(*names: str) -> Callable[[Handler], Handler]:
    """Teach `infer_spec` how primitives act on the symmetries of their operands.

    A handler is a function `handler(equation, *operands)`. Each operand is a tuple with one symbol
    per axis, or `None` for an axis along which the operand does not vary; the handler returns a
    list of such tuples, one per output. It makes the symmetries of the operands agree by calling

    - `join(symbols)`: these axes are indexed alike; returns their common symbol;
    - `fix(symbol, why)`: the order of this axis matters;
    - `split(symbol, sizes)` and `merge(symbols)`: a reshape, in row-major order;
    - `cut(symbol, sizes)` and `concatenate(symbols)`: slices, and the opposite;

    from `lopt.symmetry.symbols`. `Atom(size)` is a new symbol, `Atom(size, "why")` a fixed one. A
    handler is sound if, whenever the operands are permuted by their symbols, the outputs are
    permuted by theirs.

    Args:
      *names: names of primitives, as a jaxpr shows them. An earlier handler is replaced.

    Returns:
      A decorator that registers a handler and returns it.

    Example:
      >>> @register_primitive("my_softmax")
      ... def keep_all_axes(equation, x):
      ...     return [x]
    """
    return HANDLERS.of(*names)
