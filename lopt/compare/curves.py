"""Learning curves: how they are smoothed, and how steps are read off them."""

import numpy as np
from jaxtyping import Float

FINAL_FRACTION = 0.05
"""The fraction of a run that losses are averaged over; the final loss is the mean of the last.

Batches make single losses noisy; a longer window would delay curves by more steps.
"""


def smooth(losses: Float[np.ndarray, "... steps"]) -> Float[np.ndarray, "... steps"]:
    """Each loss averaged with those of a window before it; its last value is the final loss.

    The first values are means over the steps there are. From the first loss that is not finite
    on, a curve is infinite.
    """
    losses = np.asarray(losses, np.float64)
    steps = losses.shape[-1]
    sound = np.logical_and.accumulate(np.isfinite(losses), axis=-1)
    sums = np.cumsum(np.where(sound, losses, 0.0), axis=-1)
    before = np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)
    end = np.arange(1, steps + 1)
    begin = np.maximum(0, end - max(1, round(FINAL_FRACTION * steps)))
    means = (before[..., end] - before[..., begin]) / (end - begin)
    return np.where(sound, means, np.inf)


def steps_to(curve: Float[np.ndarray, " steps"], loss: float) -> float:
    """The first step, counted from one, at which a curve is at a loss or below; or infinity."""
    reached = curve <= loss
    return float(reached.argmax() + 1) if reached.any() else float("inf")


def speedup(reference: Float[np.ndarray, " steps"], other: Float[np.ndarray, " steps"]) -> float:
    """The factor by which `other` trains faster than `reference`, both smoothed and as long.

    It is the steps that the reference needs to its final loss over those that the other needs.
    Where the other never gets there, it is the steps that the reference needs to the other's final
    loss over all steps: a factor below one, and the smallest, one over the steps, for a run that
    diverged (whatever it reached before).
    """
    # A factor of zero or infinity would take over every mean: the ends are 1 / steps and steps.
    target, steps = reference[-1], len(reference)
    if not np.isfinite(other[-1]):
        return 1 / steps if np.isfinite(target) else 1.0
    if not np.isfinite(target):
        return float(steps)
    needed = steps_to(other, target)
    if np.isfinite(needed):
        return steps_to(reference, target) / needed
    return steps_to(reference, other[-1]) / steps
