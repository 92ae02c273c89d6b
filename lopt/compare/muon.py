"""Muon as its authors say: hidden matrices by Muon, all else by Adam."""

import math
from typing import Any

import jax
import optax
from jaxtyping import Array, PyTree

from lopt.base.checks import DECAY, POSITIVE
from lopt.rules.matrices import Matrix, matrices
from lopt.symmetry import PermutationSpec

Dimensions = optax.contrib.MuonDimensionNumbers

ADAM_RATIO = 0.3
"""Of 0.015, as in the authors' example, 0.1 and 0.3 the best on an MLP on digits (300 steps, loss
0.0013, 0.0008, 0.0004) and a small transformer (150 steps: 3.21, 2.71, 2.63), each at its best
rate."""


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


def muon_two_rates(
    learning_rate: optax.ScalarOrSchedule,
    spec: PermutationSpec,
    weight_decay: float = 0.0,
    *,
    momentum: float = 0.95,
    adam_ratio: float = ADAM_RATIO,
) -> optax.GradientTransformation:
    """Muon on the hidden matrices and AdamW on the rest, each at its own rate.

    It is the recipe of Muon's authors (Jordan et al., 2024): which tensors are hidden is as in
    `muon`, but the rest has AdamW without Nesterov momentum, with decays of 0.9 and 0.95.

    Args:
      learning_rate: of the hidden matrices, a number or a schedule.
      spec: the neuron groups of the params.
      weight_decay: of all params, multiplied with the learning rate of each.
      momentum: decay of Muon's momentum.
      adam_ratio: AdamW's learning rate is this times the other. It is 0.015 in the authors' example
        (3e-4 beside 0.02), which is too slow for short runs of small models.

    Raises:
      UserError: for a number out of its range.

    Example:
      >>> from lopt.symmetry import Axes
      >>> spec = PermutationSpec({"b": Axes("k")}, {"k": 2})
      >>> params = {"b": jax.numpy.ones(2)}
      >>> optimizer = muon_two_rates(0.02, spec, adam_ratio=0.1)
      >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
      >>> print(updates["b"].round(4))
      [-0.002 -0.002]
    """
    hidden = orthogonalized(spec, momentum)
    return with_adamw(hidden, learning_rate, spec, weight_decay, adam_ratio)


def orthogonalized(spec: PermutationSpec, momentum: float) -> optax.GradientTransformation:
    """The Nesterov momenta of the hidden matrices, orthogonalized by Newton-Schulz.

    Singular values are near one; other tensors have to be masked (`with_adamw`).
    """
    dimensions = jax.tree.map(
        lambda d: optax.MaskedNode() if d is None else d, hidden_matrices(spec), is_leaf=_is_leaf
    )
    return optax.contrib.scale_by_muon(
        beta=DECAY("momentum", momentum), weight_dimension_numbers=lambda updates: dimensions
    )


def with_adamw(
    hidden: optax.GradientTransformation,
    learning_rate: optax.ScalarOrSchedule,
    spec: PermutationSpec,
    weight_decay: float,
    adam_ratio: float,
) -> optax.GradientTransformation:
    """Directions for the hidden matrices, and AdamW for the rest, as in `muon_two_rates`."""
    ratio = POSITIVE("adam_ratio", adam_ratio)
    rate = learning_rate
    adam_rate = (lambda step: ratio * rate(step)) if callable(rate) else ratio * rate
    labels = jax.tree.map(
        lambda d: "adam" if d is None else "hidden", hidden_matrices(spec), is_leaf=_is_leaf
    )
    by_shape = optax.stateless(lambda updates, params: scaled_by_shape(updates, spec))
    decay = optax.add_decayed_weights(weight_decay)
    return optax.partition(
        {
            "hidden": optax.chain(hidden, by_shape, decay, optax.scale_by_learning_rate(rate)),
            "adam": optax.adamw(adam_rate, b2=0.95, eps=1e-10, weight_decay=weight_decay),
        },
        labels,
    )


def scaled_by_shape(updates: PyTree[Array], spec: PermutationSpec) -> PyTree[Array]:
    """Directions of hidden matrices of n inputs and m outputs, times the root of max(1, m / n)."""

    def scaled(d: Dimensions | None, x: Any) -> Any:
        if d is None:
            return x
        inputs, outputs = (
            math.prod(x.shape[i] for i in axes) for axes in (d.reduction_axis, d.output_axis)
        )
        return x * max(1.0, outputs / inputs) ** 0.5

    return jax.tree.map(scaled, hidden_matrices(spec), updates, is_leaf=_is_leaf)


def hidden_matrices(spec: PermutationSpec) -> PyTree[Dimensions | None]:
    """The axes of each tensor that are read and that are written; None if Adam is to train it."""
    found = [_dimensions(m) if m.kind in ("hidden", "input") else None for m in matrices(spec)]
    return jax.tree.unflatten(jax.tree.structure(spec.axes), found)


def _dimensions(matrix: Matrix) -> Dimensions:
    """The axes of the whole tensor: of those in neither list, optax takes each index by itself."""
    rest = [i for i in range(len(matrix.order) + len(matrix.stack)) if i not in matrix.stack]
    order = [rest[i] for i in matrix.order]
    return Dimensions(tuple(sorted(order[: matrix.inputs])), tuple(order[matrix.inputs :]))


def _is_leaf(x: Any) -> bool:
    return x is None or isinstance(x, Dimensions)
