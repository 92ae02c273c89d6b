"""The primitives that act on each element, or that hand a value on as it is."""

from collections.abc import Sequence

from lopt.symmetry.dimensions import aligned
from lopt.symmetry.interpret import Dims, fixed_dims, join_values, moved
from lopt.symmetry.symbols import fix
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()

_ELEMENTWISE = """
abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp
clz complex conj convert_element_type copy cos cosh digamma div eq eq_to erf erf_inv erfc exp exp2
expm1 floor ge gt igamma igamma_grad_a igammac imag integer_pow is_finite le le_to lgamma log
log1p logistic lt lt_to max min mul mulhi name ne neg nextafter not or polygamma population_count
pow real reduce_precision regularized_incomplete_beta rem round rsqrt select_n sharding_constraint
shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stage
stop_gradient sub tan tanh xor zeta
"""


@HANDLERS.of(*_ELEMENTWISE.split())
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


_IDENTITY = "optimization_barrier device_put reshard layout_constraint pvary accum_grad_in_ref"


@HANDLERS.of(*_IDENTITY.split())
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
