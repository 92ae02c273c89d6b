"""Means over seeds and tasks with their intervals, and performance profiles."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

TRIM = 0.25
"""The fraction that an interquartile mean leaves out at either end."""

_CONFIDENCE = (2.5, 97.5)  # the percentiles that an interval lies between
_RESAMPLES = 2000  # the ends vary in the third figure, and a report takes seconds

PROFILE_END = 4.0
"""The factor up to which a performance profile is scored, as in AlgoPerf."""


class Interval(NamedTuple):
    """A mean and its 95 % bootstrap interval, NaN where there is too little to resample."""

    mean: float
    low: float = math.nan
    high: float = math.nan

    @property
    def is_tie(self) -> bool:
        """Whether an interval of ratios contains one; without an interval, whether they are one."""
        if math.isnan(self.low):
            return self.mean == 1
        return self.low <= 1 <= self.high


def interquartile_mean(scores: Float[np.ndarray, "tasks seeds"]) -> Interval:
    """The mean of the middle half of all scores, of all tasks and seeds together.

    The interval resamples the tasks and, independently, the seeds (percentile bootstrap): what is
    the same for all tasks, or for all seeds, does not average out. With one task, or one seed, it
    resamples the other only.
    """
    from scipy import stats  # when it is used: commands start a fifth sooner

    if not scores.size:
        return Interval(math.nan)
    mean = float(stats.trim_mean(scores, TRIM, axis=None))
    if scores.size == 1 or not np.isfinite(scores).all():
        return Interval(mean)
    rng = np.random.default_rng(0)  # the same results give the same report
    tasks, seeds = (rng.integers(size, size=(_RESAMPLES, size)) for size in scores.shape)
    drawn = scores[tasks[:, :, None], seeds[:, None, :]].reshape(_RESAMPLES, -1)
    low, high = np.percentile(stats.trim_mean(drawn, TRIM, axis=1), _CONFIDENCE)
    return Interval(mean, float(low), float(high))


def standard_error(values: Float[np.ndarray, " seeds"]) -> float:
    """The standard error of the mean over seeds; NaN for one seed."""
    if len(values) < 2:
        return math.nan
    with np.errstate(invalid="ignore"):  # of runs that diverged
        return float(values.std(ddof=1) / np.sqrt(len(values)))


def profile(
    steps: Float[np.ndarray, "optimizers tasks"], factors: Float[np.ndarray, " factors"]
) -> Float[np.ndarray, "optimizers factors"]:
    """The fraction of tasks on which an optimizer needs at most so many times the least steps.

    These are the performance profiles of Dolan & Moré (2002) that AlgoPerf scores with
    (arXiv 2306.07179). Steps are infinite where an optimizer does not get there.
    """
    return np.mean(_ratios(steps)[:, :, None] <= factors, axis=1)


def profile_scores(
    steps: Float[np.ndarray, "optimizers tasks"],
) -> Float[np.ndarray, " optimizers"]:
    """The mean height of each profile from a factor of one to `PROFILE_END`, as in AlgoPerf."""
    if not steps.size:
        return np.full(len(steps), np.nan)
    ratios = _ratios(steps)
    # A task adds one to the height from its ratio on, so that the integral needs no grid.
    within = np.where(np.isfinite(ratios), np.clip(PROFILE_END - ratios, 0.0, None), 0.0)
    return within.mean(axis=1) / (PROFILE_END - 1)


def _ratios(steps: Float[np.ndarray, "optimizers tasks"]) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # infinite over infinite, where nobody gets there
        return steps / steps.min(axis=0)
