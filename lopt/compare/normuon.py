"""NorMuon: Muon whose neurons are scaled alike."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from lopt.base.checks import DECAY
from lopt.compare.muon import (
    ADAM_RATIO,
    Dimensions,
    hidden_matrices,
    orthogonalized,
    with_adamw,
)
from lopt.symmetry import PermutationSpec

_EPSILON = 1e-10
"""Added to what divides, as in the authors' code."""


class NeuronsState(NamedTuple):
    """The state of `scale_by_neurons`.

    Attributes:
      square: for each neuron of each hidden matrix the average of its mean square.
    """

    square: PyTree[Array]


def normuon(
    learning_rate: optax.ScalarOrSchedule,
    spec: PermutationSpec,
    weight_decay: float = 0.0,
    *,
    momentum: float = 0.95,
    b2: float = 0.95,
    adam_ratio: float = ADAM_RATIO,
) -> optax.GradientTransformation:
    r"""NorMuon (Li et al., arXiv 2510.05491) on the hidden matrices, AdamW on the rest.

    With O the orthogonalized momentum of Muon, the direction of the neuron that output j belongs to
    is

    .. math:: \frac{O_j}{\sqrt{v_j} + \epsilon}, \qquad
              v_j \leftarrow \beta_2 v_j + (1 - \beta_2) \frac{1}{n} \sum_i O_{ij}^2,

    and the matrix is scaled back to the norm that O has, then as Muon's is.

    Args:
      learning_rate: of the hidden matrices, a number or a schedule.
      spec: the neuron groups of the params; hidden are those of `muon`.
      weight_decay: of all params, multiplied with the learning rate of each.
      momentum: decay of Muon's momentum.
      b2: :math:`\beta_2`.
      adam_ratio: as that of `muon_two_rates`.

    Raises:
      UserError: for a number out of its range.

    Example:
      >>> from lopt.symmetry import Axes
      >>> spec = PermutationSpec({"w": Axes("h", "k")}, {"h": 3, "k": 2})
      >>> params = {"w": jnp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])}
      >>> optimizer = normuon(0.02, spec)
      >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
      >>> first, second = jnp.linalg.norm(updates["w"], axis=0).tolist()
      >>> abs(first / second - 1) < 1e-4
      True
    """
    hidden = optax.chain(orthogonalized(spec, momentum), scale_by_neurons(spec, b2))
    return with_adamw(hidden, learning_rate, spec, weight_decay, adam_ratio)


def scale_by_neurons(spec: PermutationSpec, b2: float) -> optax.GradientTransformation:
    """Divide what each neuron reads by the root of its average square; matrices keep their norms.

    Args:
      spec: the neuron groups of the params; tensors that are not hidden have to be masked.
      b2: decay of the averages.
    """
    b2 = DECAY("b2", b2)
    dimensions = hidden_matrices(spec)

    def of_hidden(function: Any, *trees: PyTree[Array]) -> PyTree[Array]:
        return jax.tree.map(
            lambda d, *leaves: leaves[0] if d is None else function(d, *leaves),
            dimensions,
            *trees,
            is_leaf=lambda x: x is None or isinstance(x, Dimensions),
        )

    def init(params: PyTree[Array]) -> NeuronsState:
        return NeuronsState(of_hidden(lambda d, x: jnp.zeros_like(_mean_square(d, x)), params))

    def update(
        updates: PyTree[Array], state: NeuronsState, params: PyTree[Array] | None = None
    ) -> tuple[PyTree[Array], NeuronsState]:
        del params
        square = of_hidden(
            lambda d, v, x: b2 * v + (1 - b2) * _mean_square(d, x), state.square, updates
        )

        def normalized(d: Dimensions, x: Array, v: Array) -> Array:
            scaled = x / (jnp.sqrt(v) + _EPSILON)
            return scaled * (_norm(d, x) / (_norm(d, scaled) + _EPSILON))

        return of_hidden(normalized, updates, square), NeuronsState(square)

    return optax.GradientTransformation(init, update)


def _mean_square(d: Dimensions, x: Array) -> Array:
    return jnp.mean(jnp.square(x), d.reduction_axis, keepdims=True)


def _norm(d: Dimensions, x: Array) -> Array:
    axes = (*d.reduction_axis, *d.output_axis)
    return jnp.sqrt(jnp.sum(jnp.square(x), axes, keepdims=True))
