"""Measures of how well predicted scores agree with true ones."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

_CONFIDENCE = 0.95
_RESAMPLES = 400
"""Of the bootstrap: the ends of an interval then vary by a few hundredths of its width."""


def kendall_tau(a: Float[np.ndarray, " networks"], b: Float[np.ndarray, " networks"]) -> float:
    """Kendall's tau-b: how many more pairs are in the same order than not, ties allowed for.

    Zero where one of the two does not vary, as then nothing is ordered.
    """
    tau = stats.kendalltau(a, b).statistic
    return 0.0 if np.isnan(tau) else float(tau)


def r_squared(
    predicted: Float[np.ndarray, " networks"], true: Float[np.ndarray, " networks"]
) -> float:
    """One minus the mean squared error over the variance; NaN if the scores do not vary."""
    variance = np.mean((true - true.mean()) ** 2)
    return float(1 - np.mean((predicted - true) ** 2) / variance) if variance else float("nan")


def are_binary(scores: Float[np.ndarray, " networks"]) -> bool:
    """Whether all scores are 0 or 1, as for networks that do something or do not."""
    return bool(np.isin(scores, (0, 1)).all())


def auc(predicted: Float[np.ndarray, " networks"], true: Float[np.ndarray, " networks"]) -> float:
    """The area under the ROC curve of binary scores; NaN if all scores are alike.

    Of all pairs of a network that scores 1 and one that scores 0, it is the fraction in which the
    first is predicted to be higher; a tie counts as half.
    """
    ones = int(np.sum(true == 1))
    zeros = len(true) - ones
    if not ones or not zeros:
        return float("nan")
    ranks = stats.rankdata(predicted)[true == 1].sum()
    return float((ranks - ones * (ones + 1) / 2) / (ones * zeros))


def accuracy(
    predicted: Float[np.ndarray, " networks"], true: Float[np.ndarray, " networks"]
) -> float:
    """The fraction of binary scores on whose side of a half the prediction is."""
    return float(np.mean((predicted >= 0.5) == (true == 1)))


def over_runs(
    statistic: Callable[[np.ndarray], float | np.ndarray],
    runs: Sequence[Hashable] | np.ndarray,
    seed: int = 0,
) -> Float[np.ndarray, "3 ..."]:
    """A statistic of networks and the ends of its 95 % interval, the bootstrap over training runs.

    Networks of one run are not independent, and are drawn together. The statistic is of networks
    given as indices, of which one may come several times.
    """
    names, of_run = np.unique(np.asarray(runs), return_inverse=True)
    members = [np.flatnonzero(of_run == i) for i in range(len(names))]
    rng = np.random.default_rng(seed)
    found: list[Any] = []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(len(members), size=len(members))
        found.append(statistic(np.concatenate([members[i] for i in drawn])))
    tail = 100 * (1 - _CONFIDENCE) / 2
    ends: np.ndarray = np.percentile(found, [tail, 100 - tail], axis=0)
    return np.stack([statistic(np.arange(len(of_run))), *ends])
