"""The primitives that factorize matrices, solve equations with them or transform axes."""

from lopt.symmetry.interpret import Dims, fixed_dims, join_values
from lopt.symmetry.symbols import fix
from lopt.symmetry.walk import Equation, Handlers

HANDLERS = Handlers()

_RANKS = {
    "cholesky": (2,),
    "cholesky_update": (2, 1),
    "eig": (2,),
    "eigh": (2,),
    "geqp3": (2, 1),
    "geqrf": (2,),
    "hessenberg": (2,),
    "householder_product": (2, 1),
    "lu": (2,),
    "lu_pivots_to_permutation": (1,),
    "ormqr": (2, 1, 2),
    "qr": (2,),
    "schur": (2,),
    "svd": (2,),
    "symmetric_product": (2, 2),
    "triangular_solve": (2, 2),
    "tridiagonal": (2,),
    "tridiagonal_solve": (1, 1, 1, 2),
}
"""The rank of each operand's matrices or vectors; the axes before those are a batch."""


@HANDLERS.of(*_RANKS)
def of_matrices(equation: Equation, *operands: Dims) -> list[Dims]:
    """The order of rows and columns matters; batch axes are one."""
    return _last_fixed(equation, operands, _RANKS[equation.name])


@HANDLERS.of("fft")
def fft(equation: Equation, operand: Dims) -> list[Dims]:
    """The last axes are transformed."""
    return _last_fixed(equation, (operand,), (len(equation.params["fft_lengths"]),))


def _last_fixed(
    equation: Equation, operands: tuple[Dims, ...], ranks: tuple[int, ...]
) -> list[Dims]:
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
