"""Results of predictors over seeds, with intervals over the runs of the test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lopt.compare.statistics import Interval
from lopt.predict.experiment import Experiment, Outcome
from lopt.predict.metrics import accuracy, are_binary, auc, kendall_tau, over_runs, r_squared


@dataclass(frozen=True)
class Summary:
    """The results of a predictor at one number of training networks.

    Attributes:
      taus: Kendall's tau on the test for each seed, likewise `r_squared`, `aucs` and `accuracies`;
        the last two are empty for scores that are not binary.
      tau: their mean, with an interval over the runs of the test at the largest size.
      behind_the_best: how far the mean tau is behind that of the best predictor, with an interval
        over the runs of the test, in pairs, at the largest size; zero for the best itself.
      taus_at_other_widths: the taus on networks of each other width.
      seconds: that a training took in the mean.
      epochs: until the best one, in the mean.
      learning_rates: the best one of each seed.
    """

    taus: Float[np.ndarray, " seeds"]
    tau: Interval
    r_squared: Float[np.ndarray, " seeds"]
    aucs: Float[np.ndarray, " seeds"]
    accuracies: Float[np.ndarray, " seeds"]
    behind_the_best: Interval
    taus_at_other_widths: Mapping[str, Float[np.ndarray, " seeds"]]
    seconds: float
    epochs: float
    learning_rates: tuple[float, ...]


Summaries = dict[tuple[str, int], Summary]
"""Of predictors, by name and number of training networks."""


def summaries(experiment: Experiment, outcomes: Sequence[Outcome]) -> Summaries:
    """The results of all predictors at all sizes, from all outcomes."""
    by_size: dict[int, dict[str, list[Outcome]]] = {}
    for outcome in outcomes:
        job = outcome.job
        by_size.setdefault(job.size, {}).setdefault(job.name, []).append(outcome)
    found = {}
    for size, predictors in by_size.items():
        intervals = _intervals(experiment, list(predictors.values()), size == max(by_size))
        for (name, seeds), (tau, behind) in zip(predictors.items(), intervals, strict=True):
            found[name, size] = _summary(experiment, seeds, tau, behind)
    return found


def _intervals(
    experiment: Experiment, predictors: Sequence[Sequence[Outcome]], resampled: bool
) -> list[tuple[Interval, Interval]]:
    """The mean tau of each predictor over its seeds, and how far it is behind the best one."""
    test = experiment.networks[experiment.tested]

    def taus(index: np.ndarray) -> Float[np.ndarray, " predictors"]:
        scores = test.scores[index]
        each = [[kendall_tau(o.predictions[index], scores) for o in seeds] for seeds in predictors]
        return np.array([np.mean(taus) for taus in each])

    everything = np.arange(len(test))
    best = int(np.argmax(taus(everything)))

    def statistic(index: np.ndarray) -> Float[np.ndarray, "predictors 2"]:
        found = taus(index)
        return np.stack([found, found[best] - found], 1)

    if not resampled:
        return [(Interval(tau), Interval(behind)) for tau, behind in statistic(everything).tolist()]
    intervals = np.moveaxis(over_runs(statistic, test.runs), 0, -1).tolist()
    return [(Interval(*tau), Interval(*behind)) for tau, behind in intervals]


def _summary(
    experiment: Experiment, seeds: Sequence[Outcome], tau: Interval, behind: Interval
) -> Summary:
    scores = experiment.networks.scores
    true, binary = scores[experiment.tested], are_binary(scores)
    return Summary(
        np.array([kendall_tau(o.predictions, true) for o in seeds]),
        tau,
        np.array([r_squared(o.predictions, true) for o in seeds]),
        np.array([auc(o.predictions, true) for o in seeds if binary]),
        np.array([accuracy(o.predictions, true) for o in seeds if binary]),
        behind,
        {
            name: np.array([kendall_tau(o.elsewhere[name], other.scores) for o in seeds])
            for name, other in experiment.others.items()
        },
        float(np.mean([o.seconds for o in seeds])),
        float(np.mean([o.epochs for o in seeds])),
        tuple(o.learning_rate for o in seeds),
    )
