"""Splits of networks by their training runs."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Bool


def choose(
    runs: Sequence[Hashable] | np.ndarray, fraction: float, seed: int
) -> Bool[np.ndarray, " networks"]:
    """Which networks are on the smaller side of a random split of training runs.

    Two networks of one run are always on one side.

    Args:
      runs: which run each network is of.
      fraction: of the runs that are chosen; at least one is, if there are two.
      seed: of the choice.

    Example:
      >>> choose([7, 7, 3, 3, 5, 5], 0.3, seed=0).sum()
      np.int64(2)
    """
    names, of_run = np.unique(np.asarray(runs), return_inverse=True)
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    chosen = np.random.default_rng((seed, 3)).permutation(len(names))[:count]
    return np.isin(of_run, chosen)
