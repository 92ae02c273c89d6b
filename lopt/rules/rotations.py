"""Orthonormal bases that follow the eigenvectors of second moments, by products alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.rules.units import root

_LARGEST_TURN = 0.7
"""Bound of a turn's norm: after one Newton-Schulz iteration the basis is orthonormal to 8 %."""


def turn(
    basis: Float[Array, "n k"],
    signal: Float[Array, "k m"],
    energies: Float[Array, " k"],
    rate: float,
    outside: tuple[Float[Array, "n k"], Float[Array, ""]] | None = None,
) -> Float[Array, "n k"]:
    r"""A basis turned towards the eigenvectors of the average of S S', S one step's signal.

    With S in the coordinates of the basis Q, D the energies, e the rate and :math:`C = S S^\top`,
    each pair of coordinates turns against what is left of their correlation, as Jacobi's method
    does for one pair at a time:

    .. math:: T_{ij} = \frac{e\,C_{ij}}{|D_j - D_i| + 2 e\,|C_{ij}|} \operatorname{sign}(D_j - D_i),
              \qquad Q \leftarrow \tfrac32 X - \tfrac12 X X^\top X, \quad X = Q + Q T + U.

    T is antisymmetric, so that the turn is orthogonal to first order, and Newton and Schulz'
    iteration makes up for the rest. A basis of fewer vectors than they are long turns towards what
    is outside of it as well: with P the products of the whole signal with S,

    .. math:: U_j = \frac{e\,B_j}{\max(D_j - d, 0) + 2 e\,|B_j|}, \qquad B = P - Q C,

    where d is the energy of a direction outside. T and U are shortened to norms of 0.7 in sum. No
    average of S S' is kept, no factorization is needed, and permuting the n coordinates permutes
    the rows of the result: a QR factorization, that orders its columns, is not so equivariant.

    Args:
      basis: Q, its columns are the coordinates' directions.
      signal: S, of any scale; its correlations are compared with differences of energies.
      energies: D, running means of squares along each coordinate.
      rate: e, the weight of one step.
      outside: P, the signal in all n coordinates times S', and d; None if the basis is complete.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> basis, mixing = jnp.eye(2), jnp.array([[2.0, 0.0], [1.0, 0.5]])
      >>> for key in jax.random.split(jax.random.key(0), 400):
      ...     signal = basis.T @ mixing @ jax.random.normal(key, (2, 50))
      ...     basis = turn(basis, signal, jnp.mean(signal**2, 1), rate=0.01)
      >>> covariance = basis.T @ mixing @ mixing.T @ basis
      >>> bool(jnp.abs(covariance[0, 1]) < 0.1)
      True
    """
    differences = energies[None, :] - energies[:, None]
    correlations = rate * _product(signal, signal.T)
    turns = _limited(jnp.sign(differences) * correlations, jnp.abs(differences), correlations)
    magnitudes = jnp.abs(turns)
    # Both bound the largest singular value; the Frobenius norm is the lower for sparse turns.
    norm = jnp.minimum(_norm(turns), jnp.max(jnp.sum(magnitudes, 1)))
    change = _product(basis, turns)
    if outside is not None:
        products, energy = outside
        beyond = rate * products - _product(basis, correlations)
        lengths = root(jnp.sum(jnp.square(beyond), 0))
        beyond = _limited(beyond, jnp.maximum(energies - energy, 0), lengths)
        norm = norm + _norm(beyond)
        change = change + beyond
    basis = basis + change * (_LARGEST_TURN / jnp.maximum(norm, _LARGEST_TURN))
    return 1.5 * basis - 0.5 * _product(basis, _product(basis.T, basis))


def begun(basis: Float[Array, "m n"], signal: Float[Array, "n m"]) -> Float[Array, "m n"]:
    """The basis or, if it is all zero, one along the rows of a signal.

    Its singular values are at most one, and the iteration in `turn` brings all but the smallest
    near to one within ten steps. Zero stays zero.
    """
    magnitudes = jnp.abs(signal)
    # Two bounds of the largest singular value.
    bound = root(jnp.max(jnp.sum(magnitudes, 0)) * jnp.max(jnp.sum(magnitudes, 1)))
    bound = jnp.minimum(bound, _norm(signal))
    along = signal.T / jnp.where(bound > 0, bound, 1)
    return jnp.where(jnp.any(basis != 0), basis, along)


def _limited(part: Array, difference: Array, correlation: Array) -> Array:
    size = difference + 2 * jnp.abs(correlation)
    return part / jnp.where(size > 0, size, 1)


def _norm(x: Array) -> Array:
    return root(jnp.sum(jnp.square(x)))


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
