"""Splits of networks by their training runs."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Bool

FEWEST = 4
"""Networks that each side of a split needs at least."""


def choose(
    runs: Sequence[Hashable] | np.ndarray, share: float, seed: int
) -> Bool[np.ndarray, " networks"]:
    """Which networks are on the smaller side of a random split of training runs.

    Two networks of one run are always on one side.

    Args:
      runs: which run each network is of.
      share: of the runs that are chosen; at least one is, if there are two.
      seed: of the choice.

    Example:
      >>> choose([7, 7, 3, 3, 5, 5], 0.3, seed=0).sum()
      np.int64(2)
    """
    names, own = np.unique(np.asarray(runs), return_inverse=True)
    count = min(max(1, round(share * len(names))), len(names) - 1)
    chosen = np.random.default_rng((seed, 3)).permutation(len(names))[:count]
    return np.isin(own, chosen)
