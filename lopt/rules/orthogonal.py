"""The orthogonal factor of a matrix by Newton-Schulz iterations."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.base.mesh import gathered, rows_gathered

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of Muon's quintic (Jordan et al., 2024): it brings singular values to between 0.7 and 1.2."""


def orthogonalize(x: Float[Array, "n m"], iterations: int = 5) -> Float[Array, "n m"]:
    """A matrix with the singular vectors of x and all singular values near one.

    With X_0 = x / |x| (Frobenius), each iteration is X <- a X + b X X' X + c X X' X X' X. For a
    matrix at least twice as long as wide the same polynomials are evaluated on the Gram matrix of
    its short side, X_k = X_0 Q_k with small Q_k: two products of x's size in place of two each
    iteration. It commutes with permutations of rows and of columns. Zero stays zero.

    Args:
      x: a matrix of any float type; products are taken in float32.
      iterations: as in Muon, 5.

    Example:
      >>> import jax, numpy as np
      >>> x = jax.random.normal(jax.random.key(0), (32, 8))
      >>> values = np.linalg.svd(orthogonalize(x), compute_uv=False)
      >>> bool(values.min() > 0.6), bool(values.max() < 1.3)
      (True, True)
    """
    if x.shape[0] < x.shape[1]:
        return orthogonalize(x.T, iterations).T
    square = jnp.sum(jnp.square(x))
    x = x * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)
    a, b, c = COEFFICIENTS

    def direct(_: int, x: Array) -> Array:
        gram = _product(x.T, x)
        return a * x + _product(x, b * gram + c * _product(gram, gram))

    def of_gram(_: int, both: tuple[Array, Array]) -> tuple[Array, Array]:
        product, gram = both
        factor = a * identity + b * gram + c * _product(gram, gram)
        return _product(product, factor), _product(factor, _product(gram, factor))

    if x.shape[0] < 2 * x.shape[1]:
        return gathered(jax.lax.fori_loop(0, iterations, direct, gathered(x)))
    identity = jnp.eye(x.shape[1], dtype=x.dtype)
    x = rows_gathered(x)
    start = identity, gathered(_product(x.T, x))
    product, _ = gathered(jax.lax.fori_loop(0, iterations, of_gram, start))
    return rows_gathered(_product(x, product))


def _product(a: Array, b: Array) -> Array:
    # Rounded to fewer bits, a Gram matrix gets negative eigenvalues that the iterations amplify.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
