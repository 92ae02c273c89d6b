"""What devices exchange in a meta-step, read in the compiled program."""

import math
import re
from typing import NamedTuple

import jax

from lopt.meta.loop import MetaState, MetaTraining

_BYTES = {"f32": 4, "s32": 4, "u32": 4, "pred": 1}

_KINDS = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"


class Communication(NamedTuple):
    """What devices exchange in one meta-step.

    Attributes:
      theta_bytes: the size of theta.
      state_bytes: the size of the estimators' states.
      collectives: kind -> the size of the result of each, in bytes, the largest first.
      layout_stays: whether the state lies on the devices after the step as it did before.
    """

    theta_bytes: int
    state_bytes: int
    collectives: dict[str, list[int]]
    layout_stays: bool


def communication(training: MetaTraining, state: MetaState) -> Communication:
    """Compile a meta-step and read what its devices exchange.

    Args:
      training: over several devices.
      state: of it, on the devices.
    """
    compiled = training.lower(state).compile()
    stays = jax.tree.map(
        lambda x, after: x.sharding.is_equivalent_to(after, x.ndim),
        state,
        compiled.output_shardings[0],
    )
    return Communication(
        _size(state.theta),
        _size(state.estimator_states),
        collectives(compiled.as_text()),
        jax.tree.all(stays),
    )


def collectives(hlo: str) -> dict[str, list[int]]:
    """Of each kind of collective in a compiled program, the bytes of the result of each.

    >>> collectives("x = (f32[10,2]{1,0}, f32[]) all-reduce-start(a, b), channel_id=1")
    {'all-reduce': [84]}
    """
    found: dict[str, list[int]] = {}
    for shapes, kind in re.findall(rf"= (.*?) ({_KINDS})(?:-start)?\(", hlo):
        size = sum(
            _BYTES[dtype] * math.prod(int(n) for n in shape.split(",") if n)
            for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        )
        found.setdefault(kind, []).append(size)
    return {kind: sorted(sizes, reverse=True) for kind, sizes in found.items()}


def _size(tree: object) -> int:
    return sum(x.nbytes for x in jax.tree.leaves(tree))
