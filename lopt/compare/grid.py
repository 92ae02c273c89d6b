"""The settings that an optimizer is tried at: the same number for every one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from lopt.base.checks import POSITIVE, SIZE, checked, named, number, sequence
from lopt.base.schedules import SCHEDULES
from lopt.compare.trials import Setting, Trial

DECADES = 3.0  # from the lowest rate of a grid to the highest; a row says if its best is at an end
REFINED = 2  # rates of a grid that are set after the others, on both sides of the best of them


@dataclass(frozen=True)
@checked(
    "",
    rates=SIZE,
    schedules=sequence(named("schedule", SCHEDULES), 1),
    weight_decays=sequence(number(0)),
)
class Budget:
    """The trials that every optimizer gets: one for each rate, schedule and weight decay.

    An optimizer that has no schedule or no weight decay spends its trials on a finer grid of
    learning rates.

    Attributes:
      rates: learning rates of each schedule and weight decay.
      schedules: names in `lopt.base.schedules.SCHEDULES`.
      weight_decays: none for the default of each optimizer.

    Raises:
      UserError: for anything but a positive number of rates, the names of one or more schedules,
        and weight decays that are finite and not negative.
    """

    rates: int = 7
    schedules: Sequence[str] = ("cosine",)
    weight_decays: Sequence[float] = ()

    @property
    def trials(self) -> int:
        """The number of trials that an optimizer gets on a task."""
        return self.rates * len(self.schedules) * max(1, len(self.weight_decays))


@dataclass(frozen=True)
@checked("", centre=POSITIVE)
class Search:
    """The search for an optimizer's settings.

    Attributes:
      centre: of its grid of learning rates.
      scheduled: whether its learning rate follows a schedule.
      decays: whether it has a weight decay.

    Raises:
      UserError: if the centre is not a positive number.
    """

    centre: float
    scheduled: bool = True
    decays: bool = False

    def combinations(self, budget: Budget) -> list[tuple[str, float | None]]:
        """The schedules and weight decays, each of which gets a grid of learning rates."""
        schedules = tuple(budget.schedules) if self.scheduled else ("constant",)
        decays = tuple(budget.weight_decays) if self.decays else ()
        return list(product(schedules, decays or (None,)))


def coarse(search: Search | None, budget: Budget) -> list[Setting]:
    """The settings that an optimizer is tried at first; of one that is run as it is, the only one.

    Of each schedule and weight decay they are all rates but two; of fewer than five all.
    """
    if search is None:
        return [Setting()]
    combinations = search.combinations(budget)
    rates = budget.trials // len(combinations)
    at_first = rates - REFINED if rates >= 5 else rates
    return [Setting(rate, *c) for c in combinations for rate in grid(search.centre, at_first)]


def finer(budget: Budget, trials: Sequence[Trial], measure: str) -> list[Setting]:
    """The settings that it is tried at then, given its first trials, if trials are left."""
    if len(trials) == budget.trials or trials[0].setting.learning_rate is None:
        return []
    found = []
    for combination in dict.fromkeys(trial.setting[1:] for trial in trials):
        score_at = scores_at(trials, combination, measure)
        best = min(score_at, key=lambda rate: score_at[rate])
        found += [Setting(rate, *combination) for rate in refined([*score_at], best)]
    return found


def grid(centre: float, rates: int) -> tuple[float, ...]:
    """Rates around a centre, evenly on a log axis.

    >>> grid(0.01, 4)
    (0.00032, 0.0032, 0.032, 0.32)
    """
    if rates == 1:
        return (_rounded(centre),)
    exponents = np.linspace(-DECADES / 2, DECADES / 2, rates)
    return tuple(_rounded(centre * 10**x) for x in exponents)


def refined(rates: Sequence[float], best: float) -> tuple[float, float]:
    """Two more rates: at half the way to the neighbours of the best, or beyond it at an edge.

    >>> refined((0.01, 0.1, 1.0), 0.1), refined((0.01, 0.1, 1.0), 1.0)
    ((0.032, 0.32), (10.0, 100.0))
    """
    lowest, highest = min(rates), max(rates)
    ratio = (highest / lowest) ** (1 / (len(rates) - 1))
    low, high = {lowest: (-2.0, -1.0), highest: (1.0, 2.0)}.get(best, (-0.5, 0.5))
    return _rounded(best * ratio**low), _rounded(best * ratio**high)


def edge(trials: Sequence[Trial], measure: str) -> str:
    """The end of its grid that the best of several rates is at: "lowest", "highest", or ""."""
    best = min(trials, key=lambda t: t.score(measure)).setting
    rates = scores_at(trials, best[1:], measure)
    if len(rates) < 2:
        return ""
    ends = {min(rates): "lowest", max(rates): "highest"}
    return ends.get(best.learning_rate or 0.0, "")


def scores_at(
    trials: Sequence[Trial], combination: tuple[str, float | None], measure: str
) -> dict[float, float]:
    """The score of each learning rate that was tried with a schedule and weight decay."""
    return {
        t.setting.learning_rate: t.score(measure)
        for t in trials
        if t.setting.learning_rate is not None and t.setting[1:] == combination
    }


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
