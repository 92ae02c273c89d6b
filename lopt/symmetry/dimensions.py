"""Where the axes of operands go: the dimension numbers of primitives, read once for both walks."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from lopt.symmetry.families import REDUCTIONS
from lopt.symmetry.walk import Equation

Places = list[tuple[int, ...]]
"""For each axis of an operand, the axes of the result along which it lies; none if it is gone."""


def without(rank: int, dropped: Iterable[int]) -> Places:
    """When some axes are dropped."""
    dropped, rest = set(dropped), itertools.count()
    return [() if i in dropped else (next(rest),) for i in range(rank)]


def _transposed(equation: Equation) -> Places:
    order = equation.params["permutation"]
    return [(order.index(i),) for i in range(len(order))]


def _broadcast(equation: Equation) -> Places:
    targets, (shape,) = equation.params["broadcast_dimensions"], equation.out_shapes
    columns = zip(targets, equation.in_shapes[0], strict=True)
    return [(j,) if n == shape[j] else () for j, n in columns]


def _dropped(parameter: str) -> Callable[[Equation], Places]:
    return lambda equation: without(len(equation.in_shapes[0]), equation.params[parameter])


MOVES: dict[str, Callable[[Equation], Places]] = {
    "transpose": _transposed,
    "squeeze": _dropped("dimensions"),
    "broadcast_in_dim": _broadcast,
    **dict.fromkeys(REDUCTIONS, _dropped("axes")),
}
"""Where the axes of the first operand go in primitives that do no more to them.

An axis that is stretched in a broadcast goes nowhere: the result does not vary along it.
"""


def aligned(equation: Equation) -> list[Places]:
    """Of each operand of an elementwise primitive; scalars lie along no axis."""
    (shape,) = equation.out_shapes
    return [[(i,) if n == shape[i] else () for i, n in enumerate(s)] for s in equation.in_shapes]


def multiplied(equation: Equation, numbers: Any, dropped: Sequence[int] = ()) -> list[Places]:
    """Of both sides of a product: batch axes, then what is left of the first and of the second.

    `numbers` are a `dot_general`'s dimension numbers; `dropped` are axes of the second that go too.
    """
    (left_sum, right_sum), batches = numbers
    free = itertools.count(len(batches[0]))
    return [
        [
            () if i in gone else (batch.index(i),) if i in batch else (next(free),)
            for i in range(len(shape))
        ]
        for shape, gone, batch in zip(
            equation.in_shapes[:2], (left_sum, (*right_sum, *dropped)), batches, strict=True
        )
    ]


def looked_up(equation: Equation) -> tuple[list[int], Places, Places]:
    """Which axes a gather reads single entries of, and where its operand's and indices' axes go."""
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    (in_shape, _), (shape,) = equation.in_shapes, equation.out_shapes
    batching = numbers.operand_batching_dims
    columns = enumerate(zip(in_shape, sizes, strict=True))
    picked = [i for i, (n, taken) in columns if n != taken and i not in batching]
    gone = {*numbers.collapsed_slice_dims, *batching}
    offsets = iter(numbers.offset_dims)
    operand: Places = [() if i in gone else (next(offsets),) for i in range(len(in_shape))]
    rest = [j for j in range(len(shape)) if j not in numbers.offset_dims]
    for i, j in zip(batching, numbers.start_indices_batching_dims, strict=True):
        operand[i] = (rest[j],)
    return picked, operand, [*((j,) for j in rest), ()]


def slices(equation: Equation) -> list[list[tuple[int, int, int]]]:
    """For each output of `slice`, `split` or `unstack` the start, stop and step on each axis."""
    params, (shape,) = equation.params, equation.in_shapes
    if equation.name == "slice":
        bounds = params["start_indices"], params["limit_indices"]
        return [[*zip(*bounds, params["strides"] or (1,) * len(shape), strict=True)]]
    sizes = params["sizes"] if equation.name == "split" else (1,) * len(equation.out_shapes)
    stops = [*itertools.accumulate(map(int, sizes))]
    whole = [(0, n, 1) for n in shape]
    before, behind = whole[: params["axis"]], whole[params["axis"] + 1 :]
    return [
        [*before, (start, stop, 1), *behind]
        for start, stop in zip([0, *stops], stops, strict=False)
    ]


def runs(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """The runs of axes that a reshape turns into each other, as short as may be; without axes of 1.

    >>> list(runs((2, 3, 1, 20), (6, 4, 5)))
    [([0, 1], [0]), ([3], [1, 2])]
    """
    old, new = ([i for i, n in enumerate(sizes) if n != 1] for sizes in (before, after))
    while old:
        taken, made = [old.pop(0)], [new.pop(0)]
        while (have := _size(before, taken)) != (want := _size(after, made)):
            if have < want:
                taken.append(old.pop(0))
            else:
                made.append(new.pop(0))
        yield taken, made


def _size(shape: Sequence[int], axes: Sequence[int]) -> int:
    return math.prod(shape[i] for i in axes)


def window_rests(equation: Equation, k: int) -> bool:
    """Whether a window takes single entries along its axis k, all of them in their order."""
    params = equation.params
    ones = ("window_dimensions", "window_strides", "lhs_dilation", "base_dilation")
    padding = params.get("padding")
    return all(params[key][k] == 1 for key in (*ones, "window_dilation") if key in params) and (
        padding is None or tuple(padding[k]) == (0, 0)
    )
