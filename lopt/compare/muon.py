"""Muon as its authors say: hidden matrices by Muon, all else by Adam."""

import jax
import optax
from jaxtyping import PyTree

from lopt.rules.matrices import Matrix, matrices
from lopt.symmetry import PermutationSpec

Dimensions = optax.contrib.MuonDimensionNumbers


def muon(
    learning_rate: optax.ScalarOrSchedule, spec: PermutationSpec, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Muon (Jordan et al., 2024) on the hidden matrices, Adam on the rest at the same rate.

    Hidden are matrices and kernels that write neurons and read neurons or real-valued inputs.
    Embeddings, tables of positions, the output layer, biases and gains are Adam's. A kernel is
    orthogonalized as the matrix from all that it reads, space included, to all that it writes,
    heads together. `optax.contrib.muon` without more orthogonalizes every tensor of two axes and
    no other.

    Args:
      learning_rate: of both.
      spec: the neuron groups of the params.
      weight_decay: of both, multiplied with the learning rate.
    """
    dimensions = hidden_matrices(spec)
    return optax.contrib.muon(
        learning_rate,
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        muon_weight_dimension_numbers=lambda params: dimensions,
    )


def hidden_matrices(spec: PermutationSpec) -> PyTree[Dimensions | None]:
    """The axes of each tensor that are read and that are written; None if Adam is to train it."""
    found = [_dimensions(m) if m.kind in ("hidden", "input") else None for m in matrices(spec)]
    return jax.tree.unflatten(jax.tree.structure(spec.axes), found)


def _dimensions(matrix: Matrix) -> Dimensions:
    """The axes of the whole tensor: of those in neither list, optax takes each index by itself."""
    rest = [i for i in range(len(matrix.order) + len(matrix.stack)) if i not in matrix.stack]
    order = [rest[i] for i in matrix.order]
    return Dimensions(tuple(sorted(order[: matrix.inputs])), tuple(order[matrix.inputs :]))
