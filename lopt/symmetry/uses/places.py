"""How views of tensors are rearranged, cut, looked up and put together."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lopt.symmetry.dimensions import MOVES, looked_up, runs, slices, without
from lopt.symmetry.families import IDENTITY, RANDOM
from lopt.symmetry.uses.views import Value
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()


@HANDLERS.of(*RANDOM)
def _random(equation: Equation, *operands: Value) -> list[Value]:
    """Noise is no data: a kernel that it was multiplied with, as by dropout, is a kernel."""
    return [Value()] * len(equation.out_shapes)


@HANDLERS.of(*IDENTITY, "rev")
def _same(equation: Equation, *operands: Value) -> Sequence[Value]:
    return operands


@HANDLERS.of(*MOVES)
def _moved(equation: Equation, x: Value, *sizes: Value) -> list[Value]:
    return [x.moved(MOVES[equation.name](equation))]


@HANDLERS.of("reshape")
def _reshape(equation: Equation, x: Value, *sizes: Value) -> list[Value]:
    before, after = equation.in_shapes[0], equation.out_shapes[0]
    order = equation.params.get("dimensions") or range(len(before))
    to: list[tuple[int, ...]] = [()] * len(before)
    for taken, made in runs([before[i] for i in order], after):
        for i in taken:
            to[order[i]] = tuple(made)
    return [x.moved(to)]


@HANDLERS.of("slice", "split")
def _slice(equation: Equation, x: Value) -> list[Value]:
    return [_cut(equation, x, bounds) for bounds in slices(equation)]


@HANDLERS.of("unstack")
def _unstack(equation: Equation, x: Value) -> list[Value]:
    to = without(len(equation.in_shapes[0]), [equation.params["axis"]])
    # The rows are alike: where each of them begins is forgotten with their axis.
    return [_cut(equation, x, slices(equation)[0]).moved(to)] * len(equation.out_shapes)


def _cut(equation: Equation, x: Value, bounds: Sequence[tuple[int, int, int]]) -> Value:
    """A part of a value; along axes of which it has one entry the views end."""
    sizes = [-(-(stop - start) // step) for start, stop, step in bounds]
    columns = [*zip(equation.in_shapes[0], sizes, strict=True)]
    single = [i for i, (n, m) in enumerate(columns) if m == 1 < n]
    equation.walk.evidence.cut(x, single)
    to: list[tuple[int, ...]] = [() if i in single else (i,) for i in range(len(columns))]
    cut = frozenset((i, bounds[i][0]) for i, (n, m) in enumerate(columns) if 1 < m < n)
    return x.moved(to).cut_to(cut)


@HANDLERS.of("dynamic_slice")
def _dynamic_slice(equation: Equation, x: Value, *starts: Value) -> list[Value]:
    before, after = equation.in_shapes[0], equation.out_shapes[0]
    axes = [i for i, (n, m) in enumerate(zip(before, after, strict=True)) if n != m]
    return [_picked(equation, x, axes, [(i,) for i in range(len(before))], starts)]


@HANDLERS.of("gather")
def _gather(equation: Equation, x: Value, indices: Value) -> list[Value]:
    picked, to, _ = looked_up(equation)
    return [_picked(equation, x, picked, to, [indices])]


def _picked(
    equation: Equation,
    x: Value,
    axes: Sequence[int],
    to: Sequence[tuple[int, ...]],
    indices: Sequence[Value],
) -> Value:
    """A value of which entries are looked up along some axes."""
    data = any(i.data for i in indices)
    equation.walk.evidence.pick(x, axes, data)
    rest = x.moved([() if i in axes else place for i, place in enumerate(to)])
    # Rows of an identity matrix are one-hot.
    rows = [j for i, place in enumerate(to) if i not in axes for j in place]
    hot = rows[0] if x.one_hot is not None and len(axes) == len(rows) == 1 else None
    return Value(x.data or data, rest.views, one_hot=hot)


@HANDLERS.of("concatenate")
def _concatenate(equation: Equation, *operands: Value) -> list[Value]:
    axis = equation.params["dimension"]
    starts = np.cumsum([0, *(s[axis] for s in equation.in_shapes)])
    views = [
        replace(view, parts=view.parts | {(axis, int(start))})
        for x, start in zip(operands, starts, strict=False)
        for view in x.views
    ]
    return [Value(any(x.data for x in operands), tuple(views))]


@HANDLERS.of("stack")
def _stack(equation: Equation, *operands: Value) -> list[Value]:
    axis, rank = equation.params["axis"], len(equation.in_shapes[0])
    to = [(i + (i >= axis),) for i in range(rank)]
    views = [v for x in operands for v in x.moved(to).changed().views]
    return [Value(any(x.data for x in operands), tuple(views))]


@HANDLERS.of("iota")
def _iota(equation: Equation) -> list[Value]:
    return [Value(counts=equation.params["dimension"])]
