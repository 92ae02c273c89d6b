"""Train several predictors on the same networks, alike, and measure them on unseen runs."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lopt.base.checks import (
    FILE_NAME,
    FRACTION,
    MAPPING,
    SIZE,
    made_of,
    named,
    sequence,
    set_checked,
    shown,
)
from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.compare.statistics import Interval, standard_error
from lopt.predict.files import load, save
from lopt.predict.fit import TrainingBudget, fit
from lopt.predict.metrics import accuracy, are_binary, auc, kendall_tau, over_runs, r_squared
from lopt.predict.models import PREDICTORS, Model
from lopt.predict.networks import LOSSES, Networks, require_scores
from lopt.predict.predictor import Predictor
from lopt.predict.splits import choose

FOLDER = "predictors"
"""The folder of a workdir that keeps every trained predictor."""

_TEST_SEED = 1_000
"""What decides which runs are for the test, whatever the predictors' seeds."""


@dataclass(frozen=True)
class Settings:
    """What an experiment trains.

    Attributes:
      predictors: the kinds, by the names that they have in the report.
      budget: of each training.
      seeds: how often each is trained.
      test: the share of the runs that no training and no choice sees.
      sizes: at how many training networks predictors are compared; by default at all.
      loss: as in `fit`.
    """

    predictors: Mapping[str, Model]
    budget: TrainingBudget
    seeds: int = 3
    test: float = 0.2
    sizes: Sequence[int] = ()
    loss: str = "cross_entropy"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Settings":
        """The settings of a config's block.

        Raises:
          UserError: if it cannot work.
        """
        block = {"predictors": {}, "budget": {}, **config}
        parts = block["predictors"]
        if MAPPING.holds(parts):
            block["predictors"] = {name: build(PREDICTORS, part) for name, part in parts.items()}
        block["budget"] = made_of(TrainingBudget, "predict.budget", block["budget"])
        return made_of(cls, "predict", block)

    def __post_init__(self):
        """Check what is given.

        Raises:
          UserError: if it cannot work.
        """
        if not isinstance(self.predictors, Mapping) or not self.predictors:
            raise UserError(
                "predictors must be one or more by name, as in configs/predict/rnn_zoo.py, not "
                f"{shown(self.predictors)}"
            )
        for name in self.predictors:
            FILE_NAME("the name of a predictor", name)
        set_checked(
            self,
            "predict",
            seeds=SIZE,
            test=FRACTION,
            sizes=sequence(SIZE),
            loss=named("loss", LOSSES),
        )


@dataclass(frozen=True)
class Job:
    """One training of one predictor.

    Attributes:
      name: of the predictor.
      size: how many training networks there are.
      seed: of the training.
    """

    name: str
    size: int
    seed: int

    @property
    def file(self) -> str:
        """Where its predictor is kept."""
        return f"{self.name}-{self.size}-{self.seed}.safetensors"


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
      job: which.
      predictions: for each network of the test.
      elsewhere: for networks of each other width, by its name.
      seconds: that the training took.
      epochs: until the best one, at the learning rate that was kept.
      learning_rate: that was kept.
    """

    job: Job
    predictions: Float[np.ndarray, " networks"]
    elsewhere: Mapping[str, Float[np.ndarray, " networks"]]
    seconds: float
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Experiment:
    """Predictors, and the networks that they are trained and measured on.

    Attributes:
      settings: what is trained.
      networks: all that splits are made of.
      others: networks of other widths, on which nothing is trained.
      folder: where predictors are kept.
    """

    settings: Settings
    networks: Networks
    others: Mapping[str, Networks]
    folder: Path

    def __post_init__(self):
        """Find out whether scores and sizes fit.

        Raises:
          UserError: if not.
        """
        for networks in (self.networks, *self.others.values()):
            require_scores(networks.scores, len(networks), self.settings.loss, networks.names)
        most = int(np.sum(~self.tested))
        for size in self.settings.sizes:
            if not 0 < size <= most:
                raise UserError(f"sizes are 1 to {most}, the networks to train on, not {size}")

    @property
    def tested(self) -> Bool[np.ndarray, " networks"]:
        """Which networks are for the test."""
        return choose(self.networks.runs, self.settings.test, _TEST_SEED)

    def training(self, size: int) -> Int[np.ndarray, " some"]:
        """The first training networks, whole runs, of which there are at least so many."""
        index = np.flatnonzero(~self.tested)
        if size >= len(index):
            return index
        runs = self.networks.runs[index]
        order = dict.fromkeys(runs.tolist())
        counts = np.cumsum([np.sum(runs == run) for run in order])
        chosen = list(order)[: int(np.searchsorted(counts, size)) + 1]
        return index[np.isin(runs, chosen)]

    def jobs(self) -> list[Job]:
        """All trainings, the smaller ones first."""
        sizes = sorted(set(self.settings.sizes) or {int(np.sum(~self.tested))})
        return [
            Job(name, size, seed)
            for size in sizes
            for name in self.settings.predictors
            for seed in range(self.settings.seeds)
        ]

    def run(self) -> Iterator[Outcome]:
        """Train what is not kept yet, and measure; yields after each job."""
        self.folder.mkdir(exist_ok=True)
        test = self.networks[self.tested]
        for job in self.jobs():
            predictor = self.trained(job)
            elsewhere = {
                name: predictor.many(own.params, own.spec) for name, own in self.others.items()
            }
            yield Outcome(
                job, predictor.many(test.params), elsewhere, *_training_of(predictor.provenance)
            )

    def trained(self, job: Job) -> Predictor:
        """The predictor of a job, from its file if that is there.

        Raises:
          UserError: if the file is damaged, or does not say how it was trained.
        """
        path = self.folder / job.file
        if path.exists():
            predictor = load(path)
            try:
                _training_of(predictor.provenance)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise UserError(
                    f"{path} does not say how it was trained; remove it, and it is trained again"
                ) from error
            return predictor
        own = self.networks[self.training(job.size)]
        start = time.monotonic()
        predictor = fit(
            own.params,
            own.scores,
            own.spec,
            self.settings.predictors[job.name],
            runs=own.runs,
            loss=self.settings.loss,
            budget=self.settings.budget,
            seed=job.seed,
        )
        told = {**predictor.provenance, "seconds": time.monotonic() - start}
        predictor = replace(predictor, provenance=told)
        save(path, predictor)
        return predictor


def _training_of(provenance: Mapping[str, Any]) -> tuple[float, int, float]:
    """The seconds, the best epoch and the learning rate of a training."""
    taus = np.asarray(provenance["validation_taus"], float)
    seconds, rate = float(provenance["seconds"]), float(provenance["learning_rate"])
    return seconds, int(np.argmax(taus)) + 1, rate


@dataclass(frozen=True)
class Summary:
    """How a predictor does at one number of training networks.

    Attributes:
      taus: Kendall's tau on the test for each seed.
      tau: their mean, with an interval over the runs of the test at the largest size.
      r_squared: for each seed.
      aucs: the area under the ROC curve for each seed, of binary scores; empty for others.
      accuracies: likewise.
      behind: how far the mean tau is behind that of the best predictor, with an interval over the
        runs of the test, in pairs, at the largest size; zero for the best itself.
      elsewhere: the taus on networks of each other width.
      seconds: that a training took in the mean.
      epochs: until the best one, in the mean.
      learning_rates: that were kept.
    """

    taus: Float[np.ndarray, " seeds"]
    tau: Interval
    r_squared: Float[np.ndarray, " seeds"]
    aucs: Float[np.ndarray, " seeds"]
    accuracies: Float[np.ndarray, " seeds"]
    behind: Interval
    elsewhere: Mapping[str, Float[np.ndarray, " seeds"]]
    seconds: float
    epochs: float
    learning_rates: tuple[float, ...]

    @property
    def error(self) -> float:
        """The standard error of the mean tau over seeds."""
        return standard_error(self.taus)


def summaries(
    experiment: Experiment, outcomes: Sequence[Outcome]
) -> dict[tuple[str, int], Summary]:
    """How all predictors do at all sizes, from all outcomes, by name and size."""
    test = experiment.networks[experiment.tested]
    grouped: dict[tuple[str, int], list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault((outcome.job.name, outcome.job.size), []).append(outcome)

    def mean_tau(own: Sequence[Outcome]) -> Callable[[np.ndarray], float]:
        def mean(index: np.ndarray) -> float:
            return float(
                np.mean([kendall_tau(o.predictions[index], test.scores[index]) for o in own])
            )

        return mean

    everything = np.arange(len(test))
    largest = max(size for _, size in grouped)

    def interval(statistic: Callable[[np.ndarray], float], size: int) -> Interval:
        if size < largest:
            return Interval(statistic(everything), math.nan, math.nan)
        return over_runs(statistic, test.runs)

    means = {key: mean_tau(own) for key, own in grouped.items()}
    best = {
        size: max((key for key in means if key[1] == size), key=lambda key: means[key](everything))
        for _, size in grouped
    }
    binary = are_binary(experiment.networks.scores)
    found = {}
    for key, own in grouped.items():
        lead = best[key[1]]

        def behind(index: np.ndarray, key: tuple = key, lead: tuple = lead) -> float:
            return means[lead](index) - means[key](index)

        found[key] = Summary(
            np.array([kendall_tau(o.predictions, test.scores) for o in own]),
            interval(means[key], key[1]),
            np.array([r_squared(o.predictions, test.scores) for o in own]),
            np.array([auc(o.predictions, test.scores) for o in own if binary]),
            np.array([accuracy(o.predictions, test.scores) for o in own if binary]),
            Interval(0.0, 0.0, 0.0) if lead == key else interval(behind, key[1]),
            {
                name: np.array([kendall_tau(o.elsewhere[name], other.scores) for o in own])
                for name, other in experiment.others.items()
            },
            float(np.mean([o.seconds for o in own])),
            float(np.mean([o.epochs for o in own])),
            tuple(o.learning_rate for o in own),
        )
    return found
