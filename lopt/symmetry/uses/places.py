"""How views of tensors are rearranged, cut, looked up and put together."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lopt.symmetry.uses.views import Value, View, kept, reshaped
from lopt.symmetry.uses.walk import Equation, Shape, handles


@handles(
    "random_seed",
    "random_wrap",
    "random_unwrap",
    "random_split",
    "random_fold_in",
    "random_bits",
    "random_clone",
    "random_gamma",
    "threefry2x32",
    "rng_bit_generator",
    "rng_uniform",
)
def _random(equation: Equation, *operands: Value) -> list[Value]:
    """Noise is no data: a kernel that it was multiplied with, as by dropout, is a kernel."""
    return [Value()] * len(equation.outs)


@handles(
    "convert_element_type",
    "copy",
    "stop_gradient",
    "name",
    "reduce_precision",
    "sharding_constraint",
    "device_put",
    "reshard",
    "layout_constraint",
    "pvary",
    "optimization_barrier",
)
def _same(equation: Equation, *operands: Value) -> Sequence[Value]:
    return operands


@handles("transpose")
def _transpose(equation: Equation, x: Value) -> list[Value]:
    order = equation.params["permutation"]
    return [x.moved([(order.index(i),) for i in range(len(order))])]


@handles("squeeze")
def _squeeze(equation: Equation, x: Value) -> list[Value]:
    return [x.moved(kept(len(equation.shapes[0]), equation.params["dimensions"]))]


@handles("broadcast_in_dim")
def _broadcast(equation: Equation, x: Value, *sizes: Value) -> list[Value]:
    targets, shape = equation.params["broadcast_dimensions"], equation.shapes[0]
    stays = [equation.outs[0][j] == n for j, n in zip(targets, shape, strict=True)]
    return [x.moved([(j,) if on else () for j, on in zip(targets, stays, strict=True)])]


@handles("reshape")
def _reshape(equation: Equation, x: Value, *sizes: Value) -> list[Value]:
    shape = equation.shapes[0]
    order = equation.params.get("dimensions") or range(len(shape))
    to = reshaped([shape[i] for i in order], equation.outs[0])
    return [x.moved([to[list(order).index(i)] for i in range(len(shape))])]


@handles("rev")
def _reversed(equation: Equation, x: Value) -> list[Value]:
    return [x]


@handles("slice")
def _slice(equation: Equation, x: Value) -> list[Value]:
    return [_cut(equation, x, equation.params["start_indices"], equation.outs[0])]


@handles("split")
def _split(equation: Equation, x: Value) -> list[Value]:
    axis, rank = equation.params["axis"], len(equation.shapes[0])
    starts = np.cumsum([0, *(out[axis] for out in equation.outs)])
    return [
        _cut(equation, x, [int(start) if i == axis else 0 for i in range(rank)], out)
        for start, out in zip(starts, equation.outs, strict=False)
    ]


@handles("unstack")
def _unstack(equation: Equation, x: Value) -> list[Value]:
    axis, shape = equation.params["axis"], equation.shapes[0]
    row = _cut(equation, x, [0] * len(shape), (*shape[:axis], 1, *shape[axis + 1 :]))
    return [row.moved(kept(len(shape), [axis]))] * len(equation.outs)


def _cut(equation: Equation, x: Value, starts: Sequence[int], after: Shape) -> Value:
    """A value of which a part is taken along some axes; of those of one entry the views end."""
    before = equation.shapes[0]
    single = [i for i, (n, m) in enumerate(zip(before, after, strict=True)) if m == 1 < n]
    equation.evidence.cut(x, single)
    to: list[tuple[int, ...]] = [() if i in single else (i,) for i in range(len(before))]
    cut = frozenset(
        (i, start)
        for i, (n, m, start) in enumerate(zip(before, after, starts, strict=True))
        if 1 < m < n
    )
    return x.moved(to).cut_to(cut)


@handles("dynamic_slice")
def _dynamic_slice(equation: Equation, x: Value, *starts: Value) -> list[Value]:
    before, after = equation.shapes[0], equation.outs[0]
    axes = [i for i, (n, m) in enumerate(zip(before, after, strict=True)) if n != m]
    return [_picked(equation, x, axes, [(i,) for i in range(len(before))], starts)]


@handles("gather")
def _gather(equation: Equation, x: Value, indices: Value) -> list[Value]:
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    shape = equation.shapes[0]
    batching = list(numbers.operand_batching_dims)
    axes = [i for i, (n, m) in enumerate(zip(shape, sizes, strict=True)) if n != m]
    axes = [i for i in axes if i not in batching]
    gone = {*numbers.collapsed_slice_dims, *batching}
    offsets = iter(numbers.offset_dims)
    to = [() if i in gone else (next(offsets),) for i in range(len(shape))]
    others = [j for j in range(len(equation.outs[0])) if j not in numbers.offset_dims]
    for i, j in zip(batching, numbers.start_indices_batching_dims, strict=True):
        to[i] = (others[j],)
    return [_picked(equation, x, axes, to, [indices])]


def _picked(
    equation: Equation,
    x: Value,
    axes: Sequence[int],
    to: Sequence[tuple[int, ...]],
    indices: Sequence[Value],
) -> Value:
    """A value of which entries are looked up along some axes."""
    data = any(i.data for i in indices)
    equation.evidence.pick(x, axes, data)
    rest = x.moved([() if i in axes else place for i, place in enumerate(to)])
    # Rows of an identity matrix are one-hot.
    rows = [j for i, place in enumerate(to) if i not in axes for j in place]
    hot = rows[0] if x.one_hot is not None and len(axes) == len(rows) == 1 else None
    return Value(x.data or data, rest.views, one_hot=hot)


@handles("concatenate")
def _concatenate(equation: Equation, *operands: Value) -> list[Value]:
    axis = equation.params["dimension"]
    starts = np.cumsum([0, *(s[axis] for s in equation.shapes)])

    def of(views: tuple[View, ...], start: int) -> list[View]:
        return [replace(v, parts=v.parts | {(axis, int(start))}) for v in views]

    views = [v for x, n in zip(operands, starts, strict=False) for v in of(x.views, n)]
    return [Value(any(x.data for x in operands), tuple(views))]


@handles("stack")
def _stack(equation: Equation, *operands: Value) -> list[Value]:
    axis, rank = equation.params["axis"], len(equation.shapes[0])
    to = [(i + (i >= axis),) for i in range(rank)]
    views = [v for x in operands for v in x.moved(to).changed().views]
    return [Value(any(x.data for x in operands), tuple(views))]


@handles("iota")
def _iota(equation: Equation) -> list[Value]:
    return [Value(counts=equation.params["dimension"])]


@handles("eq")
def _equal(equation: Equation, a: Value, b: Value) -> list[Value]:
    """Indices compared with 0, 1, 2, ... are one-hot; two counts make an identity matrix."""
    hot = next((x.counts for x in (a, b) if x.counts is not None), None)
    return [Value(a.data or b.data, one_hot=hot)]
