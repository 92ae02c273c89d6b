"""A walk through a traced function that follows its tensors to where they are used."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.extend import core

from lopt.symmetry.interpret import live_equations, open_jaxpr, shape_of
from lopt.symmetry.rules_control import CALLS
from lopt.symmetry.uses import Evidence
from lopt.symmetry.views import Value, View, covering, kept, reshaped, unique

Shape = tuple[int, ...]


class Equation:
    """One equation, as a handler sees it.

    Attributes:
      params: of the primitive.
      name: of the primitive.
      shapes: of the operands.
      outs: the shapes of the results.
      evidence: where uses are noted.
    """

    def __init__(self, eqn: core.JaxprEqn, evidence: Evidence):
        self.params: dict[str, Any] = eqn.params
        self.name = eqn.primitive.name
        self.shapes = [shape_of(v) for v in eqn.invars]
        self.outs = [shape_of(v) for v in eqn.outvars]
        self.evidence = evidence


Handler = Callable[..., Sequence[Value]]

_handlers: dict[str, Handler] = {}


def _handles(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        _handlers.update(dict.fromkeys(names, handler))
        return handler

    return register


def find_uses(jaxpr: core.ClosedJaxpr, tensors: Sequence[Shape]) -> Evidence:
    """What a function does with its first arguments.

    Nothing here decides whether a symmetry holds. A primitive that is not known ends the view of a
    tensor, so that less is found of what it is.

    Args:
      jaxpr: of a function of tensors, and of further arguments.
      tensors: the shapes of the tensors.
    """
    evidence = Evidence(tensors)
    values = [
        Value(views=(View(t, tuple(frozenset([i]) for i in range(len(shape)))),))
        for t, shape in enumerate(tensors)
    ]
    arguments = [Value(data=not _is_key(a)) for a in jaxpr.in_avals[len(tensors) :]]
    _walk(jaxpr, [*values, *arguments], evidence)
    return evidence


def _is_key(aval: Any) -> bool:
    return jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key)


def _walk(
    jaxpr: core.ClosedJaxpr | core.Jaxpr, operands: Sequence[Value], evidence: Evidence
) -> list[Value]:
    jaxpr, consts = open_jaxpr(jaxpr)
    equations = [eqn for eqn, _ in live_equations(jaxpr, [True] * len(jaxpr.outvars))]
    times = Counter(
        v
        for v in (*(v for eqn in equations for v in eqn.invars), *jaxpr.outvars)
        if isinstance(v, core.Var)
    )
    values: dict[Any, Value] = dict(zip(jaxpr.invars, operands, strict=True))
    values |= {v: Value(data=np.ndim(c) > 0) for v, c in zip(jaxpr.constvars, consts, strict=True)}

    def read(atom: core.Var | core.Literal) -> Value:
        if isinstance(atom, core.Literal):
            return Value(data=np.ndim(atom.val) > 0)
        value = values.get(atom, Value(data=True))
        return value.without_sums() if times[atom] > 1 else value

    for eqn in equations:
        handler = _handlers.get(eqn.primitive.name, _unknown)
        found = handler(Equation(eqn, evidence), *map(read, eqn.invars))
        values |= zip(eqn.outvars, found, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _unknown(equation: Equation, *operands: Value) -> list[Value]:
    data = any(x.data for x in operands)
    return [Value(data)] * len(equation.outs)


@_handles(
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


@_handles(
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


@_handles("transpose")
def _transpose(equation: Equation, x: Value) -> list[Value]:
    order = equation.params["permutation"]
    return [x.moved([(order.index(i),) for i in range(len(order))])]


@_handles("squeeze")
def _squeeze(equation: Equation, x: Value) -> list[Value]:
    return [x.moved(kept(len(equation.shapes[0]), equation.params["dimensions"]))]


@_handles("broadcast_in_dim")
def _broadcast(equation: Equation, x: Value, *sizes: Value) -> list[Value]:
    targets, shape = equation.params["broadcast_dimensions"], equation.shapes[0]
    stays = [equation.outs[0][j] == n for j, n in zip(targets, shape, strict=True)]
    return [x.moved([(j,) if on else () for j, on in zip(targets, stays, strict=True)])]


@_handles("reshape")
def _reshape(equation: Equation, x: Value, *sizes: Value) -> list[Value]:
    shape = equation.shapes[0]
    order = equation.params.get("dimensions") or range(len(shape))
    to = reshaped([shape[i] for i in order], equation.outs[0])
    return [x.moved([to[list(order).index(i)] for i in range(len(shape))])]


@_handles("rev")
def _reversed(equation: Equation, x: Value) -> list[Value]:
    return [x]


@_handles("slice")
def _slice(equation: Equation, x: Value) -> list[Value]:
    return [_cut(equation, x, equation.params["start_indices"], equation.outs[0])]


@_handles("split")
def _split(equation: Equation, x: Value) -> list[Value]:
    axis, rank = equation.params["axis"], len(equation.shapes[0])
    starts = np.cumsum([0, *(out[axis] for out in equation.outs)])
    return [
        _cut(equation, x, [int(start) if i == axis else 0 for i in range(rank)], out)
        for start, out in zip(starts, equation.outs, strict=False)
    ]


@_handles("unstack")
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


@_handles("dynamic_slice")
def _dynamic_slice(equation: Equation, x: Value, *starts: Value) -> list[Value]:
    before, after = equation.shapes[0], equation.outs[0]
    axes = [i for i, (n, m) in enumerate(zip(before, after, strict=True)) if n != m]
    return [_picked(equation, x, axes, [(i,) for i in range(len(before))], starts)]


@_handles("gather")
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


@_handles("concatenate")
def _concatenate(equation: Equation, *operands: Value) -> list[Value]:
    axis = equation.params["dimension"]
    starts = np.cumsum([0, *(s[axis] for s in equation.shapes)])

    def of(views: tuple[View, ...], start: int) -> list[View]:
        return [replace(v, parts=v.parts | {(axis, int(start))}) for v in views]

    views = [v for x, n in zip(operands, starts, strict=False) for v in of(x.views, n)]
    return [Value(any(x.data for x in operands), tuple(views))]


@_handles("stack")
def _stack(equation: Equation, *operands: Value) -> list[Value]:
    axis, rank = equation.params["axis"], len(equation.shapes[0])
    to = [(i + (i >= axis),) for i in range(rank)]
    views = [v for x in operands for v in x.moved(to).changed().views]
    return [Value(any(x.data for x in operands), tuple(views))]


@_handles("iota")
def _iota(equation: Equation) -> list[Value]:
    return [Value(counts=equation.params["dimension"])]


@_handles("eq")
def _equal(equation: Equation, a: Value, b: Value) -> list[Value]:
    """Indices compared with 0, 1, 2, ... are one-hot; two counts make an identity matrix."""
    hot = next((x.counts for x in (a, b) if x.counts is not None), None)
    return [Value(a.data or b.data, one_hot=hot)]


@_handles("reduce_sum")
def _sum(equation: Equation, x: Value) -> list[Value]:
    axes = equation.params["axes"]
    for factor in x.factors:
        if factor.along(axes):
            equation.evidence.product(Value(views=(factor,)), axes, ())
    to = kept(len(equation.shapes[0]), axes)
    return [x.changed().moved(to) if not x.data else Value(True)]


@_handles(*["reduce_prod", "reduce_max", "reduce_min", "reduce_and", "reduce_or", "reduce_xor"])
def _reduced(equation: Equation, x: Value) -> list[Value]:
    to = kept(len(equation.shapes[0]), equation.params["axes"])
    return [x.changed().moved(to) if not x.data else Value(True)]


_ENTRY_BY_ENTRY = """
abs acos acosh and asin asinh atan atan2 atanh cbrt ceil clamp complex conj cos cosh div erf
erf_inv erfc exp exp2 expm1 floor ge gt imag integer_pow is_finite le log log1p logistic lt max
min ne neg not or pow real rem round rsqrt select_n sign sin sinh sqrt square tan tanh xor
"""


@_handles(*_ENTRY_BY_ENTRY.split())
def _each(equation: Equation, *operands: Value) -> list[Value]:
    return [_combined(equation, _aligned(equation, operands))]


@_handles("mul")
def _multiply(equation: Equation, a: Value, b: Value) -> list[Value]:
    a, b = _aligned(equation, (a, b))
    found = _combined(equation, (a, b))
    factors = [v for x, y in ((a, b), (b, a)) if not x.data and y.data for v in x.views]
    return [found._replace(factors=(*factors, *a.factors, *b.factors))]


@_handles("add", "sub", "add_any")
def _add(equation: Equation, a: Value, b: Value) -> list[Value]:
    a, b = _aligned(equation, (a, b))
    found = _combined(equation, (a, b))
    plain = [
        equation.evidence.added(v)
        for x, y in ((a, b), (b, a))
        if not x.data and y.data
        for v in x.views
        if v.plain
    ]
    products = a.products + b.products
    added = a.vectors + b.vectors + tuple(plain)
    total = found._replace(
        products=unique(products, lambda v: (v.tensor, v.parts)),
        vectors=unique(added, lambda v: (v.tensor, v.parts, v.use)),
        counts=next((x.counts for x, y in ((a, b), (b, a)) if y == Value()), None),
    )
    if total.products and total.vectors:
        equation.evidence.sum(total, equation.outs[0])
    return [total]


def _aligned(equation: Equation, operands: Sequence[Value]) -> list[Value]:
    """The operands in the shape of the result: what is stretched along an axis is not along it."""
    out = equation.outs[0]
    return [
        x.moved([(i,) if n == out[i] else () for i, n in enumerate(shape)])
        for x, shape in zip(operands, equation.shapes, strict=True)
    ]


def _combined(equation: Equation, operands: Sequence[Value]) -> Value:
    """What is computed from entries at the same place; scalars are everywhere."""
    data = any(x.data for x in operands)
    alike = [x for x in operands if not data or covering(x, equation.outs[0])]
    views = sorted((v for x in alike for v in x.changed().views), key=lambda v: -len(v.covered))
    return Value(data, unique(views, lambda v: (v.tensor, v.parts)))


@_handles("dot_general")
def _dot(equation: Equation, a: Value, b: Value) -> list[Value]:
    sums, batches = equation.params["dimension_numbers"]
    data = a.data or b.data
    tensors = _weights(a, b)
    places = [
        _in_product(len(shape), sums[k], batches[k], offset)
        for k, (shape, offset) in enumerate(zip(equation.shapes, _offsets(equation), strict=True))
    ]
    products: tuple[View, ...] = ()
    views: list[View] = []
    for k, (x, other) in enumerate(((a, b), (b, a))):
        rest = x.moved(places[k])
        if k not in tensors:
            continue
        if len(tensors) == 2:
            # Both are made of tensors alone, as LoRA's factors: what reads the result tells.
            views += rest.changed().views
        elif other.one_hot is not None and other.one_hot in sums[1 - k]:
            i = sums[k][list(sums[1 - k]).index(other.one_hot)]
            equation.evidence.pick(x, [i], other.data)
        else:
            found = equation.evidence.product(x, sums[k], batches[k])
            products = tuple(v.moved(places[k]) for v in found if v.plain)
    return [Value(data, tuple(views), products=products)]


@_handles("ragged_dot_general")
def _ragged_dot(equation: Equation, a: Value, b: Value, sizes: Value) -> list[Value]:
    """Rows are multiplied with the matrix of their group: groups of matrices are a stack."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (_, right_sum), (_, right_batch) = numbers.dot_dimension_numbers
    if b.views and not b.data:
        groups = numbers.rhs_group_dimensions
        equation.evidence.product(b, right_sum, [*right_batch, *groups])
    return [Value(True)]


def _weights(a: Value, b: Value) -> list[int]:
    """Which operands are made of tensors, where the other is not; both if neither is data."""
    having = [k for k, x in enumerate((a, b)) if x.views]
    if len(having) == 2 and (a.data or b.data):
        return [k for k, x in enumerate((a, b)) if not x.data]
    return having


def _offsets(equation: Equation) -> tuple[int, int]:
    (left_sum, _), (left_batch, _) = equation.params["dimension_numbers"]
    batch = len(left_batch)
    return batch, len(equation.shapes[0]) - len(left_sum)


def _in_product(
    rank: int, summed: Sequence[int], batch: Sequence[int], offset: int
) -> list[tuple[int, ...]]:
    free = iter(range(offset, offset + rank))
    return [
        () if i in summed else (list(batch).index(i),) if i in batch else (next(free),)
        for i in range(rank)
    ]


@_handles("conv_general_dilated")
def _convolution(equation: Equation, image: Value, kernel: Value) -> list[Value]:
    numbers = equation.params["dimension_numbers"]
    out, channels, *windows = numbers.rhs_spec
    found = equation.evidence.product(kernel, [channels], (), windows)
    for view in found:
        _mark_groups(equation, view, out)
    rank = len(equation.shapes[1])
    to = [(numbers.out_spec[1],) if i == out else () for i in range(rank)]
    products = tuple(v.moved(to) for v in found if v.plain)
    return [Value(image.data or kernel.data, products=products)]


def _mark_groups(equation: Equation, view: View, out: int) -> None:
    """Vmapped kernels become groups of channels: their axis is a part of the output channels."""
    groups, shape = equation.params["feature_group_count"], equation.evidence.shapes[view.tensor]
    merged = [i for i, places in enumerate(view.places) if places == {out}]
    stacked = frozenset([i for i in merged if shape[i] == groups][:1] if len(merged) > 1 else [])
    product = equation.evidence.of[view.tensor].products[view.use]
    product.stacked, product.written = stacked, product.written - stacked


@_handles(*CALLS)
def _call(equation: Equation, *operands: Value) -> list[Value]:
    return _walk(equation.params[CALLS[equation.name]], operands, equation.evidence)


@_handles("cond")
def _cond(equation: Equation, index: Value, *operands: Value) -> list[Value]:
    found = [_walk(b, operands, equation.evidence) for b in equation.params["branches"]]
    return [same[0] if len(set(same)) == 1 else Value(True) for same in zip(*found, strict=True)]


@_handles("while")
def _while(equation: Equation, *operands: Value) -> list[Value]:
    params = equation.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    carry = _carried(params["body_jaxpr"], second, operands[first + second :])
    _walk(params["body_jaxpr"], [*operands[first : first + second], *carry], equation.evidence)
    return carry


@_handles("scan")
def _scan(equation: Equation, *operands: Value) -> list[Value]:
    params = equation.params
    consts, count = params["num_consts"], params["num_carry"]
    carry = _carried(params["jaxpr"], consts, operands[consts : consts + count])
    xs = operands[consts + count :]
    equation.evidence.scan(xs)
    rows = [
        x.moved(kept(len(shape), [0])).without_sums()
        for x, shape in zip(xs, equation.shapes[consts + count :], strict=True)
    ]
    _walk(params["jaxpr"], [*operands[:consts], *carry, *rows], equation.evidence)
    return [*carry, *[Value(True)] * (len(equation.outs) - count)]


def _carried(body: core.ClosedJaxpr, start: int, values: Sequence[Value]) -> list[Value]:
    """A loop's carries: those that it hands on unchanged are as before it, others are data.

    A whole number that began as none is a counter.
    """
    jaxpr, _ = open_jaxpr(body)
    ins = jaxpr.invars[start : start + len(values)]
    return [
        value if before is after else Value(value.data or not _is_number(before.aval))
        for value, before, after in zip(values, ins, jaxpr.outvars, strict=False)
    ]


def _is_number(aval: Any) -> bool:
    return aval.shape == () and jax.dtypes.issubdtype(aval.dtype, np.integer)
