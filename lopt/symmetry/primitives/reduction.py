"""The primitives that reduce, scan, sort or pool along an axis."""

from lopt.symmetry.dimensions import window_rests
from lopt.symmetry.interpret import Dims, join_values, joined_if_whole
from lopt.symmetry.symbols import Atom, fix
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()


@HANDLERS.of("argmax", "argmin", "reduce")
def ordered_reduction(equation: Equation, *operands: Dims) -> list[Dims]:
    """The result is a position, or of an operation that need not be commutative."""
    count = len(equation.out_shapes)
    joined = join_values(operands[:count])
    axes = equation.params["dimensions" if equation.name == "reduce" else "axes"]
    for i in axes:
        fix(joined[i], "reduced" if equation.name == "reduce" else "position")
    return [tuple(s for i, s in enumerate(joined) if i not in axes)] * count


@HANDLERS.of("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def cumulative(equation: Equation, operand: Dims) -> list[Dims]:
    """The order matters along the axis; the result varies along it in any case."""
    axis = equation.params["axis"]
    fix(operand[axis], "cumulated")
    new = Atom(equation.out_shapes[0][axis], "cumulated")
    return [(*operand[:axis], operand[axis] or new, *operand[axis + 1 :])]


@HANDLERS.of("sort")
def sort(equation: Equation, *operands: Dims) -> list[Dims]:
    """Operands that are sorted together are permuted together; the result has an order of its own.

    With several operands, the order among equals is that of the input, which therefore matters.
    """
    axis = equation.params["dimension"]
    dims = list(join_values(operands))
    if len(operands) > 1:
        fix(dims[axis], "sorted")
    if dims[axis] is not None:
        dims[axis] = Atom(equation.out_shapes[0][axis], "sorted")
    return [tuple(dims)] * len(operands)


@HANDLERS.of("top_k", "approx_top_k")
def top_k(equation: Equation, operand: Dims) -> list[Dims]:
    """Positions are among the results."""
    params = equation.params
    axis = params.get("axis", params.get("reduction_dimension", -1)) % len(operand)
    fix(operand[axis], "sorted")
    k = equation.out_shapes[0][axis]
    return [(*operand[:axis], Atom(k, "sorted"), *operand[axis + 1 :])] * 2


@HANDLERS.of("reduce_window", "reduce_window_sum", "reduce_window_max", "reduce_window_min")
def pooling(equation: Equation, *operands: Dims) -> list[Dims]:
    """Windows fix the axes along which they move."""
    count, shape = len(equation.out_shapes), equation.out_shapes[0]
    columns = zip(join_values(operands[:count]), equation.in_shapes[0], shape, strict=True)
    out = [
        joined_if_whole([symbol], m == n and window_rests(equation, i), n, "space")
        for i, (symbol, m, n) in enumerate(columns)
    ]
    return [tuple(out)] * count


@HANDLERS.of("select_and_scatter", "select_and_scatter_add", "select_and_gather_add")
def pooling_gradient(equation: Equation, a: Dims, b: Dims, *rest: Dims) -> list[Dims]:
    """The gradients of pooling fix space, and keep what no window moves along."""
    (shape,) = equation.out_shapes
    columns = zip(a, b, *equation.in_shapes[:2], shape, strict=True)
    out = [
        joined_if_whole([x, y], m == n == size and window_rests(equation, i), size, "space")
        for i, (x, y, m, n, size) in enumerate(columns)
    ]
    return [tuple(out)]
