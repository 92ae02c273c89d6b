"""KL-SOAP: SOAP whose two factors are estimated together."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lopt.compare.soap import Moments, in_eigenbases
from lopt.symmetry import PermutationSpec

_FIRST_EIGENVALUE = 0.1
"""Of both factors after the first gradient, as in the authors' code: one gradient has too low a
rank to tell them."""


def kl_soap(
    learning_rate: optax.ScalarOrSchedule,
    spec: PermutationSpec | None = None,
    weight_decay: float = 0.0,
    *,
    b1: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    precondition_frequency: int = 10,
    max_precond_dim: int = 10_000,
) -> optax.GradientTransformation:
    """KL-SOAP (Lin et al., arXiv 2509.03378), with the constants of `soap`.

    Args:
      learning_rate: a number or a schedule.
      spec: as that of `scale_by_soap`.
      weight_decay: multiplied with the learning rate.
      b1: as that of `scale_by_soap`, like all that follow.
      b2: decay of the squares, of the factors and of their eigenvalues.
      eps: added to the root of the squares.
      precondition_frequency: the steps from one refresh of the bases to the next.
      max_precond_dim: the longest side that is rotated.

    Raises:
      UserError: for a number out of its range.

    Example:
      >>> params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
      >>> def loss(params): return jnp.sum((jnp.arange(3.0) @ params["w"] + params["b"]) ** 2)
      >>> optimizer = kl_soap(0.03)
      >>> state = optimizer.init(params)
      >>> for _ in range(100):
      ...     updates, state = optimizer.update(jax.grad(loss)(params), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> bool(loss(params) < 1)
      True
    """
    return optax.chain(
        scale_by_kl_soap(
            spec,
            b1=b1,
            b2=b2,
            eps=eps,
            precondition_frequency=precondition_frequency,
            max_precond_dim=max_precond_dim,
        ),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )


def scale_by_kl_soap(
    spec: PermutationSpec | None = None,
    *,
    b1: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    precondition_frequency: int = 10,
    max_precond_dim: int = 10_000,
) -> optax.GradientTransformation:
    r"""Rescale gradients as `scale_by_soap` does, in the eigenbases of other factors.

    L and R minimize the Kullback-Leibler divergence of a normal distribution with the covariance
    :math:`L \otimes R` from the gradients: each is an average of gradients that the other one
    whitens,

    .. math:: L \leftarrow \beta L + (1 - \beta) \frac{1}{m} G R^{-1} G^\top, \qquad
              R \leftarrow \beta R + (1 - \beta) \frac{1}{n} G^\top L^{-1} G,

    for G of n x m (Lin et al., arXiv 2509.03378). The inverses are those of the bases and of the
    eigenvalues, which are averages as well, :math:`\lambda_L \leftarrow \beta \lambda_L +
    (1 - \beta) \operatorname{diag}(Q_L^\top G R^{-1} G^\top Q_L) / m`. As in the authors' code
    eigenvalues begin at 0.1 and stay above the inverse square of their number (of 10, if there are
    fewer), and bases are not sorted; unlike there, the momentum and the squares are corrected for
    their bias, as SOAP's are. A side that is not rotated whitens nothing.

    Args:
      spec: as that of `scale_by_soap`.
      b1: decay of the momentum.
      b2: decay of the squares, of the factors and of their eigenvalues.
      eps: added to the root of the squares.
      precondition_frequency: the steps from one refresh of the bases to the next.
      max_precond_dim: the longest side that is rotated.

    Raises:
      UserError: for a number out of its range.
      SpecError: if the spec is no `PermutationSpec`; from `init`, if the params do not fit it.
    """
    return in_eigenbases(
        spec,
        _observe,
        sort=False,
        b1=b1,
        b2=b2,
        eps=eps,
        precondition_frequency=precondition_frequency,
        max_precond_dim=max_precond_dim,
        eigenvalue=_FIRST_EIGENVALUE,
    )


def _observe(gradient: Float[Array, "... n m"], moments: Moments, decay: float) -> Moments:
    if gradient.ndim < 2:  # a vector, or a scalar
        return moments
    factors: list[Array | None] = []
    eigenvalues: list[Array | None] = []
    for side, x in enumerate((gradient, gradient.mT)):
        factor, basis, values = (part[side] for part in moments[1:])
        if factor is None or basis is None or values is None:
            factors.append(None)
            eigenvalues.append(None)
            continue
        of_other, values_of_other = moments.bases[1 - side], moments.eigenvalues[1 - side]
        if of_other is not None and values_of_other is not None:
            x = x @ of_other * jax.lax.rsqrt(values_of_other)[..., None, :]
        number = x.shape[-1]
        factors.append(decay * factor + (1 - decay) * x @ x.mT / number)
        energies = jnp.mean(jnp.square(basis.mT @ x), -1)
        least = max(10, min(factor.shape[-1], 4000)) ** -2
        eigenvalues.append(jnp.maximum(decay * values + (1 - decay) * energies, least))
    return moments._replace(
        factors=(factors[0], factors[1]), eigenvalues=(eigenvalues[0], eigenvalues[1])
    )
