"""Rules of the primitives that rearrange axes: broadcasts, reshapes, slices, concatenations."""

import math
from collections.abc import Sequence

from lopt.symmetry.interpret import Dims, Equation, fixed_dims, register_rule
from lopt.symmetry.symbols import Atom, Symbol, concatenate, cut, fix, join, merge, split


@register_rule("broadcast_in_dim")
def broadcast(equation: Equation, operand: Dims, *dynamic_shape: Dims) -> list[Dims]:
    """New and stretched axes do not vary."""
    (in_shape, *_), (shape,) = equation.in_shapes, equation.out_shapes
    dims: list[Symbol | None] = [None] * len(shape)
    targets = equation.params["broadcast_dimensions"]
    for symbol, n, target in zip(operand, in_shape, targets, strict=True):
        if n == shape[target]:
            dims[target] = symbol
    return [tuple(dims)]


@register_rule("transpose")
def transpose(equation: Equation, operand: Dims) -> list[Dims]:
    """Axes change places."""
    return [tuple(operand[i] for i in equation.params["permutation"])]


@register_rule("squeeze")
def squeeze(equation: Equation, operand: Dims) -> list[Dims]:
    """Axes of size 1 go."""
    dropped = equation.params["dimensions"]
    return [tuple(s for i, s in enumerate(operand) if i not in dropped)]


@register_rule("expand_dims")
def expand_dims(equation: Equation, operand: Dims) -> list[Dims]:
    """Axes of size 1 come."""
    rest = iter(operand)
    new = equation.params["dimensions"]
    return [tuple(None if i in new else next(rest) for i in range(len(equation.out_shapes[0])))]


@register_rule("rev")
def reverse(equation: Equation, operand: Dims) -> list[Dims]:
    """The order matters along what is reversed."""
    for i in equation.params["dimensions"]:
        fix(operand[i], "reversed")
    return [operand]


@register_rule("iota")
def iota(equation: Equation, *dynamic_shape: Dims) -> list[Dims]:
    """Counts along one axis, and does not vary along the others."""
    along = equation.params["dimension"]
    (shape,) = equation.out_shapes
    return [tuple(Atom(n, "counted") if i == along else None for i, n in enumerate(shape))]


@register_rule("reshape")
def reshape(equation: Equation, operand: Dims, *dynamic_shape: Dims) -> list[Dims]:
    """Runs of axes that have the same size before and after are merged and split."""
    (in_shape, *_), (shape,) = equation.in_shapes, equation.out_shapes
    if equation.params.get("dimensions") not in (None, tuple(range(len(in_shape)))):
        for symbol in operand:
            fix(symbol, "reshaped")
        return [fixed_dims(shape, "reshaped")]
    return [reshaped(operand, in_shape, shape)]


def reshaped(dims: Dims, in_shape: Sequence[int], shape: Sequence[int]) -> Dims:
    """The symbols of a value after a row-major reshape."""
    out: list[Symbol | None] = []
    sources = [(s, n) for s, n in zip(dims, in_shape, strict=True) if n != 1]
    ones = [s for s, n in zip(dims, in_shape, strict=True) if n == 1]
    targets = [n for n in shape if n != 1]
    while sources:
        taken_in, taken_out = [sources.pop(0)], [targets.pop(0)]
        while (have := math.prod(n for _, n in taken_in)) != (want := math.prod(taken_out)):
            if have < want:
                taken_in.append(sources.pop(0))
            else:
                taken_out.append(targets.pop(0))
        out += _regroup(taken_in, taken_out)
    rest, spare = iter(out), iter(ones)
    return tuple(next(spare, None) if n == 1 else next(rest) for n in shape)


def _regroup(sources: list[tuple[Symbol | None, int]], sizes: list[int]) -> list[Symbol | None]:
    if len(sources) == len(sizes) == 1:
        return [sources[0][0]]
    if all(symbol is None for symbol, _ in sources):
        return [None] * len(sizes)
    whole = merge([Atom(n) if symbol is None else symbol for symbol, n in sources])
    return split(whole, sizes)


@register_rule("slice")
def slice_(equation: Equation, operand: Dims) -> list[Dims]:
    """An axis is cut at the borders; a step picks one column of the axis seen as a table."""
    start, stop = equation.params["start_indices"], equation.params["limit_indices"]
    steps = equation.params["strides"] or (1,) * len(operand)
    (shape,) = equation.in_shapes
    return [
        tuple(
            None if symbol is None else _sliced(symbol, n, *bounds)
            for symbol, n, *bounds in zip(operand, shape, start, stop, steps, strict=True)
        )
    ]


def _sliced(symbol: Symbol, n: int, start: int, stop: int, step: int) -> Symbol:
    if step == 1:
        return cut_between(symbol, n, start, stop)
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


@register_rule("split")
def split_(equation: Equation, operand: Dims) -> list[Dims]:
    """An axis is cut into parts."""
    axis, sizes = equation.params["axis"], [int(n) for n in equation.params["sizes"]]
    symbol = operand[axis]
    pieces = [None] * len(sizes) if symbol is None else cut(symbol, sizes)
    return [(*operand[:axis], piece, *operand[axis + 1 :]) for piece in pieces]


@register_rule("concatenate")
def concatenate_(equation: Equation, *operands: Dims) -> list[Dims]:
    """The concatenated axis is a sum; the others are one."""
    axis = equation.params["dimension"]
    return [
        tuple(
            _concatenated(column, [shape[axis] for shape in equation.in_shapes])
            if i == axis
            else join(column)
            for i, column in enumerate(zip(*operands, strict=True))
        )
    ]


def _concatenated(column: Sequence[Symbol | None], sizes: Sequence[int]) -> Symbol:
    return concatenate(
        [Atom(n) if symbol is None else symbol for symbol, n in zip(column, sizes, strict=True)]
    )


@register_rule("pad")
def pad(equation: Equation, operand: Dims, value: Dims) -> list[Dims]:
    """What is added does not vary, and stands beside the axis as a part of its own."""
    config = equation.params["padding_config"]
    columns = zip(operand, equation.in_shapes[0], equation.out_shapes[0], config, strict=True)
    return [tuple(_padded(*column) for column in columns)]


def _padded(symbol: Symbol | None, n: int, out: int, config: tuple[int, int, int]) -> Symbol | None:
    low, high, interior = config
    if (low, high, interior) == (0, 0, 0):
        return symbol
    symbol = Atom(n) if symbol is None else symbol
    if interior and n > 1:
        fix(symbol, "padded")
        return Atom(out, "padded")
    kept = cut_between(symbol, n, max(0, -low), n - max(0, -high))
    return concatenate([Atom(max(0, low)), kept, Atom(max(0, high))])
