"""Trained networks of one architecture with their scores."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from lopt.base.checks import named, shown
from lopt.base.errors import UserError, user_errors
from lopt.symmetry import PermutationSpec
from lopt.symmetry.paths import leaves_with_path, name_of

LOSSES = ("cross_entropy", "squared")
"""Losses that predictors are trained on: of scores in [0, 1] as probabilities, of any scores."""

Names = Sequence[str] | None
"""Of networks, for messages; None for their numbers."""


@dataclass(frozen=True)
class Networks:
    """Networks of one weight space with their scores; params are stacked along a leading axis.

    Two networks of one run never stand on both sides of a split. The names are for messages.
    """

    params: PyTree[Float[np.ndarray, "networks ..."]]
    scores: Float[np.ndarray, " networks"]
    runs: np.ndarray
    names: tuple[str, ...]
    spec: PermutationSpec

    def __post_init__(self):
        require_networks(self.params, self.spec, self.names)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(
        self, index: Bool[np.ndarray, " networks"] | Int[np.ndarray, " some"]
    ) -> "Networks":
        """Some of the networks."""
        return Networks(
            jax.tree.map(lambda x: x[index], self.params),
            self.scores[index],
            self.runs[index],
            tuple(np.array(self.names)[index].tolist()),
            self.spec,
        )


def choose(
    runs: Sequence[Hashable] | np.ndarray, fraction: float, seed: int
) -> Bool[np.ndarray, " networks"]:
    """Which networks are on the smaller side of a random split of training runs.

    Two networks of one run are always on one side. The fraction is of the runs, of which at least
    one is chosen if there are two.
    """
    names, of_run = np.unique(np.asarray(runs), return_inverse=True)
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    chosen = np.random.default_rng((seed, 3)).permutation(len(names))[:count]
    return np.isin(of_run, chosen)


def stacked(
    params: Sequence[PyTree[Array]], names: Names = None
) -> PyTree[Float[np.ndarray, "networks ..."]]:
    """Params of many networks with a leading axis, from those of each."""
    if not params:
        raise UserError("no networks to train on")
    shapes = [{name_of(p): np.shape(x) for p, x in leaves_with_path(each)} for each in params]
    first = shapes[0]
    for i, found in enumerate(shapes):
        for tensor in dict.fromkeys((*first, *found)):
            if first.get(tensor) != found.get(tensor):
                raise UserError(
                    f"network {_name(names, i)}: {tensor} has shape {found.get(tensor, 'none')}, "
                    f"and in network {_name(names, 0)} {first.get(tensor, 'none')}; give networks "
                    "of one architecture"
                )
    return jax.tree.map(lambda *x: np.stack([np.asarray(v) for v in x]), *params)


def require_networks(
    params: PyTree[Float[Array, "networks ..."]], spec: PermutationSpec, names: Names = None
) -> int:
    """The number of stacked networks, which are finite and fit a spec, and else are refused."""
    leaves = leaves_with_path(params)
    counts = {np.shape(x)[:1] for _, x in leaves}
    if len(counts) != 1 or counts <= {(), (0,)}:
        raise UserError(
            "params must be those of several networks, each tensor with one leading axis of the "
            f"same length, not of lengths {sorted(counts)}"
        )
    spec.validate(jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[1:], x.dtype), params))
    (count,) = counts.pop()
    finite = {p: np.isfinite(np.asarray(x)).reshape(count, -1).all(1) for p, x in leaves}
    bad = [(int(np.argmin(ok)), path) for path, ok in finite.items() if not ok.all()]
    if bad:
        index, path = min(bad, key=lambda found: found[0])
        raise UserError(
            f"network {_name(names, index)}: {name_of(path)} is not finite; leave that network out"
        )
    return count


def require_scores(
    scores: Any, count: int, loss: str, names: Names = None
) -> Float[np.ndarray, " networks"]:
    """Scores as an array: one for each network, fit for a loss; others are refused."""
    loss = named("loss", LOSSES)("loss", loss)
    with user_errors(f"scores must be numbers, not {shown(scores)}"):
        scores = np.asarray(scores, np.float64)
    if scores.shape != (count,):
        raise UserError(f"scores of shape {scores.shape} for {count} networks; give one for each")
    fits = np.isfinite(scores)
    if loss == "cross_entropy":
        fits &= (scores >= 0) & (scores <= 1)
    if not fits.all():
        i = int(np.argmin(fits))
        fix = "; take loss='squared' for other scores" if np.isfinite(scores[i]) else ""
        wanted = "between 0 and 1" if loss == "cross_entropy" else "finite"
        raise UserError(f"network {_name(names, i)}: its score {scores[i]:g} must be {wanted}{fix}")
    return scores


def _name(names: Names, index: int) -> str | int:
    return index if names is None else names[index]
