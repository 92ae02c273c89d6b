"""Whether the terms of an exact layer can be listed at all, found out without listing them."""

import math
from collections import Counter
from itertools import accumulate

from lopt.base.errors import UserError
from lopt.symmetry import PermutationSpec
from lopt.symmetry.axes import size_of
from lopt.symmetry.blocks import block_groups
from lopt.symmetry.paths import name_of

_FEW = 64  # blocks that can be listed whatever the coefficients are


def require_listable(spec: PermutationSpec, coefficients: int) -> None:
    """Refuse a spec whose exact layer has more terms than `coefficients`, without listing them.

    It has a term for each set partition of the axes of two blocks that joins axes of one group
    only, hence at least one for each pair of blocks. The `UserError` names the first tensor.

    >>> from lopt.symmetry import Axes
    >>> require_listable(PermutationSpec({"w": Axes("*".join("hhhhhhhh"))}, {"h": 2}), 1000)
    Traceback (most recent call last):
        ...
    lopt.base.errors.UserError: this is not the theta of its spec: it is too small for w
    """
    # Groups of one unit: an axis then is as long as it has blocks.
    blocks, ones = 0, dict.fromkeys(spec.sizes, 1)
    for path, axes in spec.entries:
        blocks += math.prod(size_of(axis, ones) for axis in axes)
        if blocks > _FEW and blocks**2 > coefficients:
            raise _too_small(name_of(path))
    terms = 0
    for name, groups in block_groups(spec).items():
        terms += math.prod(bell(min(2 * n, 20)) for n in Counter(groups).values())
        if terms > coefficients:
            raise _too_small(name)


def bell(n: int) -> int:
    """The number of set partitions of n elements, from the Bell triangle.

    >>> [bell(n) for n in range(1, 8)]
    [1, 2, 5, 15, 52, 203, 877]
    """
    row = [1]
    for _ in range(n - 1):
        row = [*accumulate([row[-1], *row])]
    return row[-1]


def _too_small(name: str) -> UserError:
    return UserError(f"this is not the theta of its spec: it is too small for {name}")
