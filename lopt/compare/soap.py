"""SOAP: Adam in the eigenbases of Shampoo's averages."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from lopt.base.checks import DECAY, SIZE, integer, number
from lopt.rules.matrices import Matrix
from lopt.rules.rotated import for_copies, layout_for
from lopt.symmetry import PermutationSpec

Sides = tuple[Array | None, Array | None]
"""Something of the input side and of the output side; None for a side that is not rotated."""


class Moments(NamedTuple):
    """The state of a tensor beside its momentum; a stack's have a leading axis over its copies.

    Attributes:
      square: averages of the squares of the gradient in the bases.
      factors: the averages of G G' and of G' G.
      bases: their eigenvectors in columns, as of the last refresh.
      eigenvalues: of KL-SOAP's factors, which it averages by themselves.
    """

    square: Float[Array, "..."]
    factors: Sides = (None, None)
    bases: Sides = (None, None)
    eigenvalues: Sides = (None, None)


class SoapState(NamedTuple):
    """The state of SOAP.

    Attributes:
      count: the gradients so far, of which the first one moves nothing.
      momentum: averages of the gradients, a tree like the params.
      moments: a `Moments` at the place of each param.
    """

    count: Int[Array, ""]  # type: ignore[assignment]
    momentum: PyTree[Array]
    moments: PyTree[Moments]


Observe = Callable[[Array, Moments, float], Moments]
"""(gradient as a matrix, moments, decay) -> the moments with new factors and eigenvalues"""


def soap(
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
    """SOAP (Vyas et al., arXiv 2409.11321), with its authors' constants.

    Args:
      learning_rate: a number or a schedule.
      spec: as that of `scale_by_soap`.
      weight_decay: multiplied with the learning rate.
      b1: as that of `scale_by_soap`, like all that follow.
      b2: decay of the squares and of the factors.
      eps: added to the root of the squares.
      precondition_frequency: the steps from one refresh of the bases to the next.
      max_precond_dim: the longest side that is rotated.

    Raises:
      UserError: for a number out of its range.

    Example:
      >>> params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
      >>> def loss(params): return jnp.sum((jnp.arange(3.0) @ params["w"] + params["b"]) ** 2)
      >>> optimizer = soap(0.03)
      >>> state = optimizer.init(params)
      >>> for _ in range(100):
      ...     updates, state = optimizer.update(jax.grad(loss)(params), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> bool(loss(params) < 1)
      True
    """
    return optax.chain(
        scale_by_soap(
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


def scale_by_soap(
    spec: PermutationSpec | None = None,
    *,
    b1: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    precondition_frequency: int = 10,
    max_precond_dim: int = 10_000,
) -> optax.GradientTransformation:
    r"""Rescale gradients by Adam in the eigenbases of Shampoo's averages.

    With M the momentum and G the gradient as matrices (input side, output side), L and R averages
    of :math:`G G^\top` and :math:`G^\top G`, and :math:`Q_L` and :math:`Q_R` their eigenvectors,
    the direction of a matrix is

    .. math:: Q_L \left(\frac{Q_L^\top M Q_R}{\sqrt V + \epsilon}\right) Q_R^\top,

    with V an average of the squares of :math:`Q_L^\top G Q_R`, M and V corrected for their bias
    (Vyas et al., arXiv 2409.11321). As in the authors' code the first gradient only gives the first
    bases, by `eigh`, and moves no param; later ones are one step of a power iteration, the Q of
    the QR factorization of :math:`L Q_L`, its columns by falling eigenvalue. A gradient enters L
    and R after its own step. Vectors and scalars are Adam's. A kernel is the matrix from all that
    it reads, space included, to all that it writes.

    Args:
      spec: the neuron groups of the params, which say what a tensor's sides are. Without one, the
        last axis is the output side.
      b1: decay of the momentum.
      b2: decay of the squares, and of the factors.
      eps: added to the root of the squares.
      precondition_frequency: the steps from one refresh of the bases to the next.
      max_precond_dim: the longest side that is rotated: beyond, a matrix is rotated on its other
        side only.

    Raises:
      UserError: for a number out of its range.
      SpecError: if the spec is no `PermutationSpec`; from `init`, if the params do not fit it.
    """
    return in_eigenbases(
        spec,
        _observe,
        sort=True,
        b1=b1,
        b2=b2,
        eps=eps,
        precondition_frequency=precondition_frequency,
        max_precond_dim=max_precond_dim,
    )


def in_eigenbases(
    spec: PermutationSpec | None,
    observe: Observe,
    *,
    sort: bool,
    b1: float,
    b2: float,
    eps: float,
    precondition_frequency: int,
    max_precond_dim: int,
    eigenvalue: float | None = None,
) -> optax.GradientTransformation:
    """Adam in the eigenbases of factors that `observe` averages; see `scale_by_soap`.

    Args:
      spec: as that of `scale_by_soap`, like the arguments that are not named here.
      observe: averages the factors.
      sort: whether a refresh sorts the columns of the bases by falling eigenvalue.
      b1: decay of the momentum.
      b2: decay of the squares, and of the factors.
      eps: added to the root of the squares.
      precondition_frequency: the steps from one refresh of the bases to the next.
      max_precond_dim: the longest side that is rotated.
      eigenvalue: what `Moments.eigenvalues` are after the first gradient, if `observe` reads them;
        one before.
    """
    b1, b2, eps = DECAY("b1", b1), DECAY("b2", b2), number(0)("eps", eps)
    every = SIZE("precondition_frequency", precondition_frequency)
    longest = integer(0)("max_precond_dim", max_precond_dim)
    layout = layout_for(spec)

    def init_moments(matrix: Matrix, param: Array) -> Moments:
        square = _arranged(matrix, jnp.zeros(jnp.shape(param), jnp.float32))
        if not matrix.inputs:
            return Moments(square)
        # A side of one entry has nothing to rotate.
        sizes = [n if 1 < n <= longest else None for n in matrix.sides]

        def of_sides(make: Callable[[int], Array]) -> Any:
            return tuple(None if n is None else matrix.copied(make(n)) for n in sizes)

        values = (None, None) if eigenvalue is None else of_sides(jnp.ones)
        return Moments(square, of_sides(lambda n: jnp.zeros((n, n))), of_sides(jnp.eye), values)

    def init(params: PyTree[Array]) -> SoapState:
        leaves: list[Array] = jax.tree.leaves(params)
        structure: Any = jax.tree.structure(params)
        moments = [init_moments(m, p) for m, p in zip(layout(params), leaves, strict=True)]
        momentum = jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), jnp.float32), params)
        return SoapState(jnp.zeros((), jnp.int32), momentum, structure.unflatten(moments))

    def update(
        updates: PyTree[Array], state: SoapState, params: PyTree[Array] | None = None
    ) -> tuple[PyTree[Array], SoapState]:
        del params
        count, moves = state.count, state.count > 0
        leaves: list[Array] = jax.tree.leaves(updates)
        structure: Any = jax.tree.structure(updates)
        directions, momenta, moments = [], [], []
        for matrix, grad, momentum, before in zip(
            layout(updates),
            leaves,
            structure.flatten_up_to(state.momentum),
            structure.flatten_up_to(state.moments),
            strict=True,
        ):
            momentum = jnp.where(moves, b1 * momentum + (1 - b1) * grad, momentum)
            gradient = _arranged(matrix, grad.astype(jnp.float32))
            square = b2 * before.square + (1 - b2) * rotated(gradient, before.bases) ** 2
            square = jnp.where(moves, square, before.square)
            steps = jnp.maximum(count, 1)
            ratio = rotated(_arranged(matrix, momentum), before.bases) / (1 - b1**steps)
            ratio = ratio / (jnp.sqrt(square / (1 - b2**steps)) + eps)
            direction = _restored(matrix, _rotated_back(ratio, before.bases), grad)
            directions.append(jnp.where(moves, direction, 0).astype(grad.dtype))
            momenta.append(momentum)
            moments.append(observe(gradient, before._replace(square=square), b2))
        due = jnp.where(moves, jnp.where(count % every == 0, 2, 0), 1)
        moments = jax.lax.switch(due, [lambda x: x, _first(eigenvalue), _refreshed(sort)], moments)
        return structure.unflatten(directions), SoapState(
            optax.safe_increment(count), structure.unflatten(momenta), structure.unflatten(moments)
        )

    return optax.GradientTransformation(init, update)


def rotated(x: Float[Array, "... n m"], bases: Sides) -> Float[Array, "... n m"]:
    """Matrices in their bases; without bases they stay as they are."""
    left, right = bases
    x = x if left is None else left.mT @ x
    return x if right is None else x @ right


def _rotated_back(x: Float[Array, "... n m"], bases: Sides) -> Float[Array, "... n m"]:
    left, right = bases
    return rotated(x, (left if left is None else left.mT, right if right is None else right.mT))


def _observe(gradient: Float[Array, "... n m"], moments: Moments, decay: float) -> Moments:
    """The moments with Shampoo's averages of G G' and G' G."""
    left, right = moments.factors
    if left is not None:
        left = decay * left + (1 - decay) * gradient @ gradient.mT
    if right is not None:
        right = decay * right + (1 - decay) * gradient.mT @ gradient
    return moments._replace(factors=(left, right))


def _arranged(matrix: Matrix, x: Array) -> Array:
    return for_copies(matrix.arranged, matrix)(matrix.separated(x))


def _restored(matrix: Matrix, x: Array, like: Array) -> Array:
    return matrix.joined(for_copies(matrix.restored, matrix)(x), like)


# Factorizations of a batch hand it to the CPU's threads and wait there; where several do so at once
# jaxlib 0.10.2 can stand still ("Known problems" in docs/performance.md). This one vmaps one matrix
# after the other, and is of the first gradient only.
@jax.custom_batching.sequential_vmap
def _eigenvectors(factor: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return jnp.linalg.eigh(factor)[1][:, ::-1]


def _orthonormal(x: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The Q of the QR factorization, by Householder's reflections, up to the signs of columns.

    LAPACK's is faster on an idle machine. Its threads wait for each other by spinning: beside other
    work on two cores it took 270 ms for a matrix of 128 x 128 in place of 2.
    """
    size = x.shape[-1]

    def reflect(k: Array, both: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, q = both
        column = jnp.where(jnp.arange(size) >= k, rest[:, k], 0)
        length = jnp.linalg.norm(column)
        v = column.at[k].add(jnp.where(column[k] < 0, -length, length))
        v = v / jnp.where(length > 0, jnp.linalg.norm(v), 1)
        return rest - 2 * jnp.outer(v, v @ rest), q - 2 * jnp.outer(q @ v, v)

    # In units of the largest entry: squares of small gradients' squares would underflow.
    largest = jnp.max(jnp.abs(x))
    return jax.lax.fori_loop(
        0, size, reflect, (x / jnp.where(largest > 0, largest, 1), jnp.eye(size))
    )[1]


def _of_each(function: Callable[[Array], Array], x: Float[Array, "... n n"]) -> Array:
    return jax.vmap(function)(x) if x.ndim > 2 else function(x)


def _first(eigenvalue: float | None) -> Callable[[list[Moments]], list[Moments]]:
    """The function that takes the eigenvectors of the factors as bases."""

    def of_one(moments: Moments) -> Moments:
        bases = jax.tree.map(lambda x: _of_each(_eigenvectors, x), moments.factors)
        if eigenvalue is None:
            return moments._replace(bases=bases)
        values = jax.tree.map(lambda x: jnp.full_like(x, eigenvalue), moments.eigenvalues)
        return moments._replace(bases=bases, eigenvalues=values)

    return lambda moments: [of_one(x) for x in moments]


def _refreshed(sort: bool) -> Callable[[list[Moments]], list[Moments]]:
    """The function that takes one step of a power iteration from each basis."""

    def of_one(moments: Moments) -> Moments:
        square, bases = moments.square, list(moments.bases)
        for side, (factor, basis) in enumerate(zip(moments.factors, moments.bases, strict=True)):
            if factor is None or basis is None:
                continue
            power = factor @ basis
            if sort:
                order = jnp.argsort(-jnp.sum(basis * power, -2), axis=-1)
                power = jnp.take_along_axis(power, order[..., None, :], -1)
                along = order[..., None] if side == 0 else order[..., None, :]
                square = jnp.take_along_axis(square, along, side - 2)
            bases[side] = _of_each(_orthonormal, power)
        return moments._replace(square=square, bases=(bases[0], bases[1]))

    return lambda moments: [of_one(x) for x in moments]
