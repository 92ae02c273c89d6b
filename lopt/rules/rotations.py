"""Orthogonal bases that follow the eigenvectors of a matrix's second moments, by products alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_LARGEST_TURN = 0.7
"""Bound of a turn's norm: one Newton-Schulz iteration makes I + T orthogonal to within 8 %."""


def turn(
    basis: Float[Array, "n n"],
    signal: Float[Array, "n m"],
    energies: Float[Array, " n"],
    rate: float,
) -> Float[Array, "n n"]:
    r"""A basis turned towards the eigenvectors of the average of S S', S one step's signal.

    With S in the coordinates of the basis, D the energies and e the rate, each pair of coordinates
    turns against what is left of their correlation, as Jacobi's method does for one pair at a time:

    .. math:: T_{ij} = \frac{e\,(S S^\top)_{ij}}{|D_j - D_i| + 2 e\,|(S S^\top)_{ij}|}
              \operatorname{sign}(D_j - D_i), \qquad
              Q \leftarrow \tfrac32 X - \tfrac12 X X^\top X, \quad X = Q (I + T),

    where the last is Newton and Schulz' iteration towards an orthogonal matrix and T is shortened
    to a norm of 0.7. T is antisymmetric, so that the turn is orthogonal to first order. No average
    of S S' is kept, no factorization is needed, and permuting rows of S together with rows and
    columns of Q permutes the result: starting from the identity it is equivariant to permutations
    of neurons, which a QR factorization, that orders its columns, is not.

    Args:
      basis: Q, columns are the coordinates' directions.
      signal: S, of any scale; its correlations are compared with differences of energies.
      energies: D, running means of squares along each coordinate.
      rate: e, the weight of one step.

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
    size = jnp.abs(differences) + 2 * jnp.abs(correlations)
    turns = jnp.sign(differences) * correlations / jnp.where(size > 0, size, 1)
    magnitudes = jnp.abs(turns)
    # Both bound the largest singular value; the Frobenius norm is the lower for sparse turns.
    norm = jnp.minimum(jnp.sqrt(jnp.sum(magnitudes**2)), jnp.max(jnp.sum(magnitudes, 1)))
    turns = turns * (_LARGEST_TURN / jnp.maximum(norm, _LARGEST_TURN))
    basis = basis + _product(basis, turns)
    return 1.5 * basis - 0.5 * _product(basis, _product(basis.T, basis))


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
