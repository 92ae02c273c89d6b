"""The primitives that factorize matrices, solve equations with them or transform axes."""

from lopt.symmetry.families import FACTORIZATIONS
from lopt.symmetry.interpret import Dims, fixed_dims, join_values
from lopt.symmetry.symbols import fix
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()

_RANKS = {
    **dict.fromkeys(FACTORIZATIONS, (2,)),
    **dict.fromkeys(("cholesky_update", "geqp3", "householder_product"), (2, 1)),
    **dict.fromkeys(("symmetric_product", "triangular_solve"), (2, 2)),
    "lu_pivots_to_permutation": (1,),
    "ormqr": (2, 1, 2),
    "tridiagonal_solve": (1, 1, 1, 2),
}
"""The rank of each operand's matrices or vectors; the axes before those are a batch."""


@HANDLERS.of("fft", *_RANKS)
def of_matrices(equation: Equation, *operands: Dims) -> list[Dims]:
    """The order of rows and columns, or of what is transformed, matters; batch axes are one."""
    ranks = _RANKS.get(equation.name) or (len(equation.params["fft_lengths"]),)
    batches = []
    for dims, rank in zip(operands, ranks, strict=True):
        count = len(dims) - rank
        batches.append(dims[:count])
        for symbol in dims[count:]:
            fix(symbol, equation.name)
    batch = join_values(batches)
    return [
        (*batch, *fixed_dims(shape[len(batch) :], equation.name)) for shape in equation.out_shapes
    ]
