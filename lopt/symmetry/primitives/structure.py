"""The primitives that rearrange axes: broadcasts, reshapes, slices, concatenations.

A reshape is read in runs of axes (`dimensions.runs`). A run that splits becomes a `Table`, which is
not split yet, for the reason that `lopt.symmetry.symbols` gives; `_sliced` is where that pays:

    x @ qkv                  # columns: one symbol of 3 * heads * width
    .reshape(n, 3, heads, w) # a table of that symbol, whole
    y[:, 0]                  # rows 0 to 1 of the table: the symbol is cut at heads * width
"""

import math
from collections.abc import Sequence
from typing import Any

from lopt.symmetry.dimensions import MOVES, runs, slices
from lopt.symmetry.interpret import Dims, join_values, moved
from lopt.symmetry.symbols import (
    Atom,
    Symbol,
    Table,
    concatenate,
    cut,
    fix,
    join,
    mark_read,
    merge,
    split,
    whole_table,
)
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()


@HANDLERS.of(*MOVES)
def move(equation: Equation, operand: Dims, *dynamic_shape: Dims) -> list[Dims]:
    """Axes change places, or go; new and stretched ones do not vary."""
    to = MOVES[equation.name](equation)
    if equation.name == "squeeze":
        for symbol, places in zip(operand, to, strict=True):
            if not places:
                mark_read(symbol)
    return [moved(operand, to, len(equation.out_shapes[0]))]


@HANDLERS.of("rev")
def reverse(equation: Equation, operand: Dims) -> list[Dims]:
    """The order matters along what is reversed."""
    for i in equation.params["dimensions"]:
        fix(operand[i], "reversed")
    return [operand]


@HANDLERS.of("iota")
def iota(equation: Equation, *dynamic_shape: Dims) -> list[Dims]:
    """Counts along one axis, and does not vary along the others."""
    along = equation.params["dimension"]
    (shape,) = equation.out_shapes
    return [tuple(Atom(n, "counted") if i == along else None for i, n in enumerate(shape))]


@HANDLERS.of("reshape")
def reshape(equation: Equation, operand: Dims, *dynamic_shape: Dims) -> list[Dims]:
    """Runs of axes that have the same size before and after are merged and split."""
    (in_shape, *_), (shape,) = equation.in_shapes, equation.out_shapes
    order = equation.params.get("dimensions") or range(len(in_shape))
    dims, sizes = tuple(operand[i] for i in order), [in_shape[i] for i in order]
    ones = iter([s for s, n in zip(dims, sizes, strict=True) if n == 1])
    sources = _sources(dims, sizes)
    out: list[Symbol | None] = []
    for taken, made in runs([n for _, n in sources], shape):
        out += _regrouped([sources[i] for i in taken], [shape[j] for j in made])
    rest = iter(out)
    return [tuple(next(ones, None) if n == 1 else next(rest) for n in shape)]


def _sources(dims: Dims, shape: Sequence[int]) -> list[tuple[Symbol | None, int]]:
    """(symbol, size) of each axis that is not of size 1, the axes of a whole table as one."""
    waiting = [(s, n) for s, n in zip(dims, shape, strict=True) if n != 1]
    sources: list[tuple[Symbol | None, int]] = []
    while waiting:
        symbol, n = waiting.pop(0)
        table = whole_table(symbol, dims)
        if table and [symbol, *(s for s, _ in waiting)][: len(table.sizes)] == list(table.factors):
            symbol, n = table.symbol, math.prod(table.sizes)
            waiting = waiting[len(table.sizes) - 1 :]
        sources.append((symbol, n))
    return sources


def _regrouped(sources: list[tuple[Symbol | None, int]], sizes: list[int]) -> list[Symbol | None]:
    if all(symbol is None for symbol, _ in sources):
        return [None] * len(sizes)
    if len(sources) == len(sizes) == 1:
        return [sources[0][0]]
    whole = merge([symbol or Atom(n) for symbol, n in sources])
    return [whole] if len(sizes) == 1 else list(Table(whole, sizes).factors)


@HANDLERS.of("tile")
def tile(equation: Equation, operand: Dims) -> list[Dims]:
    """Repeated as a whole: the repetitions are rows that do not vary, the axis is within them."""
    repeats = equation.params["reps"]
    columns = zip(operand, equation.in_shapes[0], repeats, strict=True)
    return [tuple(x if m == 1 or not x else _tiled(x, n, m) for x, n, m in columns)]


def _tiled(symbol: Symbol, n: int, count: int) -> Symbol | None:
    return None if n == 1 else merge([Atom(count), symbol])


@HANDLERS.of("slice", "split")
def slice_(equation: Equation, operand: Dims) -> list[Dims]:
    """An axis is cut at the borders; a step picks one column of the axis seen as a table."""
    return [_part(operand, equation.in_shapes[0], bounds) for bounds in slices(equation)]


@HANDLERS.of("unstack")
def unstack(equation: Equation, operand: Dims) -> list[Dims]:
    """Rows of a table are cut apart; another axis is left with single indices, which stay."""
    axis, (shape,) = equation.params["axis"], equation.in_shapes
    if whole_table(operand[axis], operand) is None:
        fix(operand[axis], "unstacked")
        mark_read(operand[axis])
        rows = [operand] * shape[axis]
    else:
        rows = [_part(operand, shape, bounds) for bounds in slices(equation)]
    return [(*row[:axis], *row[axis + 1 :]) for row in rows]


def _part(dims: Dims, shape: Sequence[int], bounds: Sequence[tuple[int, int, int]]) -> Dims:
    for i, (n, of_axis) in enumerate(zip(shape, bounds, strict=True)):
        dims = _sliced(dims, i, n, *of_axis)
    return dims


def _sliced(dims: Dims, axis: int, n: int, start: int, stop: int, step: int) -> Dims:
    """The symbols of a value after a slice of one axis."""
    symbol = dims[axis]
    if symbol is None or start == stop or (start, stop, step) == (0, n, 1):
        return dims
    if step != 1:
        new = _strided(symbol, n, start, stop, step)
        return (*dims[:axis], new, *dims[axis + 1 :])
    table = whole_table(symbol, dims)
    if table is None or symbol is not table.factors[0]:
        return (*dims[:axis], cut_between(symbol, n, start, stop), *dims[axis + 1 :])
    inner = table.sizes[1:]
    m = math.prod(inner)
    rows = cut_between(table.symbol, n * m, start * m, stop * m)
    lead = [] if stop - start == 1 else [stop - start]
    sizes = [*lead, *inner]
    factors = Table(rows, sizes).factors if len(sizes) > 1 else (rows,)
    replacements = factors if lead else (Atom(1), *factors)
    renamed: dict[Any, Symbol] = dict(zip(table.factors, replacements, strict=True))
    return tuple(renamed.get(s, s) for s in dims)


def _strided(symbol: Symbol, n: int, start: int, stop: int, step: int) -> Symbol:
    count = -(-(stop - start) // step)
    if n % step == 0 and start < step and count == n // step:
        rows, columns = split(symbol, [n // step, step])
        fix(columns, "strided")
        return rows
    fix(symbol, "strided")
    return Atom(count, "strided")


def cut_between(symbol: Symbol, n: int, start: int, stop: int) -> Symbol:
    """The part of an axis from one index to another."""
    if (start, stop) == (0, n):
        return symbol
    sizes = [size for size in (start, stop - start, n - stop) if size]
    return cut(symbol, sizes)[1 if start else 0]


@HANDLERS.of("stack")
def stack(equation: Equation, *operands: Dims) -> list[Dims]:
    """The new axis has the order of the operands; the others are one."""
    axis = equation.params["axis"]
    dims = join_values(operands)
    return [(*dims[:axis], Atom(len(operands), "stacked"), *dims[axis:])]


@HANDLERS.of("concatenate")
def concatenate_(equation: Equation, *operands: Dims) -> list[Dims]:
    """The concatenated axis is a sum; the others are one."""
    axis = equation.params["dimension"]
    columns = [*zip(*operands, strict=True)]
    sizes = [shape[axis] for shape in equation.in_shapes]
    total = concatenate([x or Atom(n) for x, n in zip(columns[axis], sizes, strict=True)])
    return [tuple(total if i == axis else join(column) for i, column in enumerate(columns))]


@HANDLERS.of("pad")
def pad(equation: Equation, operand: Dims, value: Dims) -> list[Dims]:
    """The padding does not vary, and is a part beside the axis."""
    config = equation.params["padding_config"]
    columns = zip(operand, equation.in_shapes[0], equation.out_shapes[0], config, strict=True)
    return [tuple(_padded(*column) for column in columns)]


def _padded(symbol: Symbol | None, n: int, out: int, config: tuple[int, int, int]) -> Symbol | None:
    low, high, interior = config
    if (low, high, interior) == (0, 0, 0):
        return symbol
    symbol = symbol or Atom(n)
    if interior and n > 1:
        fix(symbol, "padded")
        return Atom(out, "padded")
    if low + n <= 0 or high + n <= 0:
        return None  # Nothing of the axis is left.
    kept = cut_between(symbol, n, max(0, -low), n - max(0, -high))
    return concatenate([Atom(max(0, low)), kept, Atom(max(0, high))])
