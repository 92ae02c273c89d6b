"""Muon as its authors say: hidden matrices by Muon, all else by Adam."""

import jax
import optax
from jaxtyping import PyTree

from lopt.rules.matrices import matrices
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
    """Which axes of each tensor are read and which written, or None if Adam is to train it.

    Example:
      >>> from lopt.symmetry import Axes
      >>> axes = {"table": Axes("table.entries", "h"), "w": Axes("h", "k"), "b": Axes("k")}
      >>> sizes = {"table.entries": 9, "h": 4, "k": 5}
      >>> spec = PermutationSpec(axes, sizes, fixed=["table.entries"])
      >>> for name, found in hidden_matrices(spec).items():
      ...     print(name, found)
      b None
      table None
      w MuonDimensionNumbers(reduction_axis=(0,), output_axis=(1,))
    """
    found = [
        Dimensions(tuple(sorted(m.order[: m.inputs])), m.order[m.inputs :])
        if m.kind in ("hidden", "input")
        else None
        for m in matrices(spec)
    ]
    return jax.tree.unflatten(jax.tree.structure(spec.axes), found)
