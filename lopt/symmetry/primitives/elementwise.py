"""The primitives that act on each element, or that hand a value on as it is."""

from collections.abc import Sequence

from lopt.symmetry.dimensions import aligned
from lopt.symmetry.families import ELEMENTWISE, IDENTITY
from lopt.symmetry.interpret import Dims, fixed_dims, join_values, moved
from lopt.symmetry.symbols import fix
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()


@HANDLERS.of(*ELEMENTWISE)
def elementwise(equation: Equation, *operands: Dims) -> list[Dims]:
    """Aligned axes are one; an operand that is stretched along an axis does not vary along it."""
    (shape,) = equation.out_shapes
    places = aligned(equation)
    return [join_values([moved(x, to, len(shape)) for x, to in zip(operands, places, strict=True)])]


@HANDLERS.of("bitcast_convert_type")
def reinterpreted(equation: Equation, operand: Dims) -> list[Dims]:
    """A bitcast between widths adds or drops a last axis, whose order matters."""
    (shape,) = equation.out_shapes
    for symbol in operand[len(shape) :]:
        fix(symbol, "bits")
    left = operand[: len(shape)]
    return [left + fixed_dims(shape[len(left) :], "bits")]


@HANDLERS.of(*IDENTITY)
def identity(equation: Equation, *operands: Dims) -> Sequence[Dims]:
    """Each operand is an output."""
    return operands


@HANDLERS.of("tie")
def second(equation: Equation, *operands: Dims) -> Sequence[Dims]:
    """The second operand, which waits for the first."""
    return operands[1:]


@HANDLERS.of("empty", "empty2", "platform_index", "axis_index")
def uniform(equation: Equation, *operands: Dims) -> list[Dims]:
    """Zeros and single numbers do not vary."""
    return [(None,) * len(shape) for shape in equation.out_shapes]
