"""Train several predictors on the same networks, alike, and measure them on unseen runs."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lopt.base.checks import FILE_NAME, FRACTION, MAPPING, SIZE, checked, named, sequence, shown
from lopt.base.errors import UserError, user_errors
from lopt.base.parts import build, made_of
from lopt.predict.fit import TrainingBudget, fit
from lopt.predict.models import PREDICTORS, Model
from lopt.predict.networks import LOSSES, Networks, choose, require_scores
from lopt.predict.predictor import Predictor, load, save

FOLDER = "predictors"
"""The folder of a workdir in which every trained predictor is."""

_TEST_SEED = 1_000  # decides which runs are for the test, the same for all seeds of predictors


@dataclass(frozen=True)
@checked("predict", seeds=SIZE, test=FRACTION, sizes=sequence(SIZE), loss=named("loss", LOSSES))
class Settings:
    """The settings of an experiment.

    Attributes:
      predictors: the kinds, by the names that they have in the report.
      budget: of each training.
      seeds: how often each is trained.
      test: the fraction of the runs that no training and no choice sees.
      sizes: numbers of training networks at which predictors are compared; by default all.
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
        """The settings of a config's block."""
        block = {"predictors": {}, "budget": {}, **config}
        parts = block["predictors"]
        if MAPPING.holds(parts):
            block["predictors"] = {name: build(PREDICTORS, part) for name, part in parts.items()}
        block["budget"] = made_of(TrainingBudget, "predict.budget", block["budget"])
        return made_of(cls, "predict", block)

    def __post_init__(self):
        if not isinstance(self.predictors, Mapping) or not self.predictors:
            raise UserError(
                "predictors must be one or more by name, as in configs/predict/rnn_zoo.py, not "
                f"{shown(self.predictors)}"
            )
        for name in self.predictors:
            FILE_NAME("the name of a predictor", name)


@dataclass(frozen=True)
class Job:
    """One training of one predictor, on `size` training networks."""

    name: str
    size: int
    seed: int

    @property
    def file(self) -> str:
        """The name of the file of its predictor."""
        return f"{self.name}-{self.size}-{self.seed}.safetensors"


@dataclass(frozen=True)
class Outcome:
    """The result of a job: predictions for the networks of the test, and for those of other widths.

    Epochs are those until the best one, at the learning rate that was best.
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

    Nothing is trained on `others`, networks of other widths; `folder` is for the predictors' files.
    """

    settings: Settings
    networks: Networks
    others: Mapping[str, Networks]
    folder: Path

    def __post_init__(self):
        for networks in (self.networks, *self.others.values()):
            require_scores(networks.scores, len(networks), self.settings.loss, networks.names)
        for size in self.settings.sizes:
            if not 0 < size <= self.most:
                raise UserError(f"sizes are 1 to {self.most}, the networks to train on, not {size}")

    @property
    def tested(self) -> Bool[np.ndarray, " networks"]:
        """Which networks are for the test."""
        return choose(self.networks.runs, self.settings.test, _TEST_SEED)

    @property
    def most(self) -> int:
        """The number of networks to train on."""
        return int(np.sum(~self.tested))

    def training(self, size: int) -> Int[np.ndarray, " some"]:
        """The first training networks, whole runs, of which there are at least so many."""
        index = np.flatnonzero(~self.tested)
        if size >= len(index):
            return index
        # whole runs, since two snapshots of one are nearly the same network
        runs = self.networks.runs[index]
        order = dict.fromkeys(runs.tolist())
        counts = np.cumsum([np.sum(runs == run) for run in order])
        chosen = list(order)[: int(np.searchsorted(counts, size)) + 1]
        return index[np.isin(runs, chosen)]

    def jobs(self) -> list[Job]:
        """All trainings, the smaller ones first."""
        return [
            Job(name, size, seed)
            for size in sorted(set(self.settings.sizes) or {self.most})
            for name in self.settings.predictors
            for seed in range(self.settings.seeds)
        ]

    def run(self) -> Iterator[Outcome]:
        """Train the predictors that have no file yet, and measure; yields after each job."""
        self.folder.mkdir(exist_ok=True)
        test = self.networks[self.tested]
        for job in self.jobs():
            predictor = self.trained(job)
            elsewhere = {
                name: predictor.many(other.params, other.spec)
                for name, other in self.others.items()
            }
            told = _training_of(predictor.provenance)
            yield Outcome(job, predictor.many(test.params), elsewhere, *told)

    def trained(self, job: Job) -> Predictor:
        """The predictor of a job, from its file if that is there."""
        path = self.folder / job.file
        if path.exists():
            predictor = load(path)
            again = "remove it, and it is trained again"
            with user_errors(f"{path} does not say how it was trained", fix=again):
                _training_of(predictor.provenance)
            return predictor
        networks, settings = self.networks[self.training(job.size)], self.settings
        start = time.monotonic()
        predictor = fit(
            networks.params,
            networks.scores,
            networks.spec,
            settings.predictors[job.name],
            runs=networks.runs,
            loss=settings.loss,
            budget=settings.budget,
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
