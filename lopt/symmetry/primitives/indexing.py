"""The primitives that take or write at computed positions, and those of random numbers."""

from lopt.symmetry.dimensions import looked_up
from lopt.symmetry.families import RANDOM
from lopt.symmetry.interpret import Dims, fix_all, join_values, joined_if_whole, moved
from lopt.symmetry.outside import Outside
from lopt.symmetry.symbols import Atom, Symbol, fix, join
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()


@HANDLERS.of("gather")
def gather(equation: Equation, operand: Dims, indices: Dims) -> list[Dims]:
    """Looked-up axes are fixed; axes taken whole are kept; the rest comes from the indices."""
    picked, of_operand, of_indices = looked_up(equation)
    fix(indices[-1], "entries")
    dims = list(operand)
    for i in picked:
        dims[i] = _replaced(dims[i], equation.params["slice_sizes"][i], "entries")
    rank = len(equation.out_shapes[0])
    return [join_values([moved(tuple(dims), of_operand, rank), moved(indices, of_indices, rank)])]


def _replaced(symbol: Symbol | None, n: int, why: str) -> Symbol | None:
    """A fixed symbol for some entries of an axis, which is fixed by that."""
    fix(symbol, why)
    return symbol and Atom(n, why)


@HANDLERS.of("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max")
def scatter(equation: Equation, operand: Dims, indices: Dims, updates: Dims) -> list[Dims]:
    """The opposite of a look-up: written positions are fixed, axes written whole are one."""
    numbers = equation.params["dimension_numbers"]
    in_shape, _, update_shape = equation.in_shapes
    fix(indices[-1], "entries")
    window = iter(numbers.update_window_dims)
    others = [i for i in range(len(updates)) if i not in numbers.update_window_dims]
    for i, j in enumerate(others):
        join([indices[i], updates[j]])
    # Writing in order: which of two updates of one position is last must not change.
    if equation.name == "scatter":
        for i, j in enumerate(others):
            if i not in numbers.scatter_indices_batching_dims:
                fix(indices[i], "entries")
                fix(updates[j], "entries")
    out: list[Symbol | None] = []
    for i, (symbol, n) in enumerate(zip(operand, in_shape, strict=True)):
        if i in numbers.operand_batching_dims:
            j = numbers.scatter_indices_batching_dims[numbers.operand_batching_dims.index(i)]
            out.append(join([symbol, indices[j], updates[others[j]]]))
        elif i in numbers.inserted_window_dims:
            out.append(joined_if_whole([symbol], False, n, "entries"))
        else:
            j = next(window)
            written = [symbol, updates[j]]
            out.append(joined_if_whole(written, update_shape[j] == n, n, "entries"))
    return [tuple(out)]


@HANDLERS.of("dynamic_slice")
def dynamic_slice(equation: Equation, operand: Dims, *starts: Dims) -> list[Dims]:
    """A slice whose start is computed fixes the axis, unless it takes all of it."""
    columns = zip(operand, equation.in_shapes[0], equation.out_shapes[0], strict=True)
    return [tuple(x if n == m else _replaced(x, m, "sliced") for x, n, m in columns)]


@HANDLERS.of("dynamic_update_slice")
def dynamic_update_slice(
    equation: Equation, operand: Dims, update: Dims, *starts: Dims
) -> list[Dims]:
    """Axes that are overwritten whole are one; the others are fixed."""
    columns = zip(operand, update, *equation.in_shapes[:2], strict=True)
    return [tuple(joined_if_whole([x, y], n == m, n, "sliced") for x, y, n, m in columns)]


@HANDLERS.of(*RANDOM)
def random_numbers(equation: Equation, *operands: Dims) -> list[Dims]:
    """Random numbers have their order."""
    fix_all(operands, "random")
    causes = [Outside("random", equation.name)]
    return [tuple(Atom(n, "random", causes=causes) for n in shape) for shape in equation.out_shapes]
