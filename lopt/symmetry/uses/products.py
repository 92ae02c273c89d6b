"""Where tensors meet data: products, sums, and operations entry by entry."""

from collections.abc import Sequence

from lopt.symmetry.dimensions import MOVES, aligned, multiplied
from lopt.symmetry.families import ELEMENTWISE, REDUCTIONS
from lopt.symmetry.uses.views import Value, View, covering, unique, wide_axes
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()


@HANDLERS.of(*REDUCTIONS)
def _reduced(equation: Equation, x: Value) -> list[Value]:
    axes = equation.params["axes"]
    for factor in x.factors if equation.name == "reduce_sum" else ():
        if factor.along(axes):
            equation.walk.evidence.product(Value(views=(factor,)), axes, ())
    return [Value(True) if x.data else x.changed().moved(MOVES[equation.name](equation))]


@HANDLERS.of(*ELEMENTWISE)
def _each(equation: Equation, *operands: Value) -> list[Value]:
    found = _combined(equation, _aligned(equation, operands))
    # After a nonlinearity a product of tensors is no factor of a kernel, but what a layer wrote.
    return [Value(True) if len(operands) == 1 and _composite(found, equation) else found]


@HANDLERS.of("eq")
def _equal(equation: Equation, a: Value, b: Value) -> list[Value]:
    """Indices compared with 0, 1, 2, ... are one-hot; two counts make an identity matrix."""
    hot = next((x.counts for x in (a, b) if x.counts is not None), None)
    return [Value(a.data or b.data, one_hot=hot)]


@HANDLERS.of("mul")
def _multiply(equation: Equation, a: Value, b: Value) -> list[Value]:
    a, b = _aligned(equation, (a, b))
    found = _scaled(equation, a, b)
    factors = [v for x, y in ((a, b), (b, a)) if not x.data and y.data for v in x.views]
    return [found._replace(factors=(*factors, *a.factors, *b.factors))]


@HANDLERS.of("div")
def _divide(equation: Equation, a: Value, b: Value) -> list[Value]:
    return [_scaled(equation, *_aligned(equation, (a, b)))]


def _scaled(equation: Equation, a: Value, b: Value) -> Value:
    """A product of entries; what is scaled by numbers stays a product of its tensors with data."""
    found = _combined(equation, (a, b))
    by_numbers = (not b.data and not b.views) or (not a.data and not a.views)
    return found._replace(products=a.products + b.products) if by_numbers else found


@HANDLERS.of("add", "sub", "add_any")
def _add(equation: Equation, a: Value, b: Value) -> list[Value]:
    a, b = _aligned(equation, (a, b))
    if any(_composite(x, equation) and y.views for x, y in ((a, b), (b, a))):
        wide = wide_axes(equation.out_shapes[0])
        if not any(wide <= v.covered for x in (a, b) for v in x.views):
            # A vector is added to what a layer wrote: it was no kernel.
            return [Value(True)]
    found = _combined(equation, (a, b))
    plain = [
        equation.walk.evidence.added(v)
        for x, y in ((a, b), (b, a))
        if y.data
        and equation.name != "sub"
        and not (x.data and covering(x, equation.out_shapes[0]))
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
        equation.walk.evidence.sum(total, equation.out_shapes[0])
    return [total]


def _composite(value: Value, equation: Equation) -> bool:
    """Whether a value is a product of tensors, and nothing that another one was added to."""
    wide = wide_axes(equation.out_shapes[0])
    return value.composite and not any(wide <= v.covered for v in value.views)


def _aligned(equation: Equation, operands: Sequence[Value]) -> list[Value]:
    """The operands in the shape of the result: what is stretched along an axis is not along it."""
    return [x.moved(to) for x, to in zip(operands, aligned(equation), strict=True)]


def _combined(equation: Equation, operands: Sequence[Value]) -> Value:
    """The value of something computed from entries at the same place; scalars are everywhere."""
    data = any(x.data for x in operands)
    alike = [x for x in operands if not data or covering(x, equation.out_shapes[0])]
    views = sorted((v for x in alike for v in x.changed().views), key=lambda v: -len(v.covered))
    found = unique(views, lambda v: (v.tensor, v.parts))
    return Value(data, found, composite=any(x.composite for x in alike))


@HANDLERS.of("dot_general")
def _dot(equation: Equation, a: Value, b: Value) -> list[Value]:
    sums, batches = equation.params["dimension_numbers"]
    data = a.data or b.data
    tensors = _weights(a, b)
    places = multiplied(equation, (sums, batches))
    products: tuple[View, ...] = ()
    views: list[View] = []
    for k, (x, other) in enumerate(((a, b), (b, a))):
        if k not in tensors:
            continue
        if len(tensors) == 2:
            # Both are made of tensors alone, as LoRA's factors: what reads the result tells.
            views += x.moved(places[k]).changed().views
            if not batches[k]:
                equation.walk.evidence.mix(x)
        elif other.one_hot is not None and other.one_hot in sums[1 - k]:
            data = True
            i = sums[k][list(sums[1 - k]).index(other.one_hot)]
            equation.walk.evidence.pick(x, [i], other.data)
        else:
            # Inputs may be made in the function, of counts or random numbers.
            data = True
            found = equation.walk.evidence.product(x, sums[k], batches[k])
            products = tuple(v.moved(places[k]) for v in found)
    return [Value(data, tuple(views), products=products, composite=len(tensors) == 2)]


@HANDLERS.of("ragged_dot_general")
def _ragged_dot(equation: Equation, a: Value, b: Value, sizes: Value) -> list[Value]:
    """Rows are multiplied with the matrix of their group: groups of matrices are a stack."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (_, right_sum), (_, right_batch) = numbers.dot_dimension_numbers
    if b.views and not b.data:
        groups = numbers.rhs_group_dimensions
        equation.walk.evidence.product(b, right_sum, [*right_batch, *groups])
    return [Value(True)]


def _weights(a: Value, b: Value) -> list[int]:
    """Which operands are made of tensors, where the other is not; both if neither is data."""
    having = [k for k, x in enumerate((a, b)) if x.views]
    if len(having) == 2 and (a.data or b.data):
        return [k for k, x in enumerate((a, b)) if not x.data]
    return having


@HANDLERS.of("conv_general_dilated")
def _convolution(equation: Equation, image: Value, kernel: Value) -> list[Value]:
    numbers = equation.params["dimension_numbers"]
    out, channels, *windows = numbers.rhs_spec
    found = equation.walk.evidence.product(kernel, [channels], (), windows)
    for view in found:
        _mark_groups(equation, view, out)
    to = [(numbers.out_spec[1],) if i == out else () for i in range(len(numbers.rhs_spec))]
    return [Value(True, products=tuple(v.moved(to) for v in found))]


def _mark_groups(equation: Equation, view: View, out: int) -> None:
    """Vmapped kernels become groups of channels: their axis is a part of the output channels."""
    shape = equation.walk.evidence.shapes[view.tensor]
    groups = equation.params["feature_group_count"]
    merged = [i for i, places in enumerate(view.places) if places == {out}]
    stacked = frozenset([i for i in merged if shape[i] == groups][:1] if len(merged) > 1 else [])
    product = equation.walk.evidence.of[view.tensor].products[view.use]
    product.stacked, product.written = stacked, product.written - stacked
