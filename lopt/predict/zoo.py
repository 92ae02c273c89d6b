"""Train a zoo of networks that answer sums, for predictors of their success.

python -m lopt.predict.zoo --config=configs/predict/rnn_zoo.py --workdir=runs/zoo

The same command resumes a zoo that was interrupted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from lopt.base.checks import POSITIVE, SIZE, integer, made_of, sequence, set_checked
from lopt.base.errors import UserError
from lopt.predict.shards import INDEX, Record, Shards
from lopt.predict.training import RUNS, Hyperparameters, Scores, Training, draw, train
from lopt.runs.commands import run
from lopt.runs.progress import Progress
from lopt.runs.signals import resumable
from lopt.runs.workdir import claimed, writing_to

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/predict/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the networks go, in a folder zoo.")
flags.mark_flags_as_required(["config", "workdir"])

FOLDER = "zoo"
"""The folder of a workdir in which the networks are."""

_SEEDS = 2**32 // RUNS

_BOUNDS = ("learning_rate", "init_scale", "share")


@dataclass(frozen=True)
class Zoo:
    """What a zoo is made of.

    Attributes:
      widths: of the networks' hidden states.
      runs: how many training runs there are of each width.
      snapshots: how many networks are kept of a run, each at a time of its own.
      steps: of a run.
      every: steps between two times at which a network may be kept.
      batch_sizes: shards take them in turn.
      together: runs of a shard, which are trained at once.
      numbers: summands are the numbers below this one.
      unseen: how many of all sums no network trains on.
      learning_rate: bounds of Adam's, drawn log-uniformly, as are the next two.
      init_scale: bounds of the scale of initial kernels.
      share: bounds of the share of the other sums that a run trains on.
      seed: of all that is drawn.
    """

    widths: Sequence[int] = (32,)
    runs: Sequence[int] = (700,)
    snapshots: int = 3
    steps: int = 1400
    every: int = 100
    batch_sizes: Sequence[int] = (64, 128, 256)
    together: int = 16
    numbers: int = 20
    unseen: int = 100
    learning_rate: Sequence[float] = (1e-4, 1e-2)
    init_scale: Sequence[float] = (0.5, 2.0)
    share: Sequence[float] = (0.5, 1.0)
    seed: int = 0

    def __post_init__(self):
        """Find out whether it can be made.

        Raises:
          UserError: if not.
        """
        sizes = {name: sequence(SIZE, 1) for name in ("widths", "runs", "batch_sizes")}
        sizes |= dict.fromkeys(("snapshots", "steps", "every", "together"), SIZE)
        bounds = {name: sequence(POSITIVE) for name in _BOUNDS}
        set_checked(self, "zoo", **sizes, **bounds, seed=integer(0, _SEEDS - 1))
        if sum(self.runs) > RUNS:
            raise UserError(f"zoo: runs are at most {RUNS:,} together, not {sum(self.runs):,}")
        if len(self.widths) != len(self.runs):
            raise UserError(
                f"zoo: {len(self.widths)} widths and {len(self.runs)} numbers of runs; give one "
                "for each width"
            )
        if self.steps // self.every < self.snapshots:
            raise UserError(
                f"zoo: {self.steps} steps have {self.steps // self.every} times at which a network "
                f"may be kept, and snapshots are {self.snapshots}; lower zoo.every"
            )
        for name in _BOUNDS:
            bounds = getattr(self, name)
            if len(bounds) != 2 or bounds[0] > bounds[1]:
                raise UserError(f"zoo: {name} must be two rising positive numbers, not {bounds!r}")
        if self.share[1] > 1:
            raise UserError(f"zoo: share is at most 1, not {self.share[1]}")
        self.training(self.widths[0], 0).data()

    def training(self, width: int, shard: int) -> Training:
        """What the runs of a shard have in common."""
        batch_size = self.batch_sizes[shard % len(self.batch_sizes)]
        return Training(width, batch_size, self.steps, self.every, self.numbers, self.unseen)

    def shards(self) -> list[tuple[Training, range]]:
        """The runs of each shard, and what they have in common."""
        found: list[tuple[Training, range]] = []
        first = 0
        for width, runs in zip(self.widths, self.runs, strict=True):
            for start in range(first, first + runs, self.together):
                stop = min(start + self.together, first + runs)
                found.append((self.training(width, len(found)), range(start, stop)))
            first += runs
        return found

    def hyperparameters(self, training: Training, runs: range) -> Hyperparameters:
        """Those of runs."""
        known, _ = training.data()
        bounds = [tuple(getattr(self, name)) for name in _BOUNDS]
        return draw(runs, self.seed, len(known.questions), *bounds)

    def times(self, run: int) -> np.ndarray:
        """Which of the times a run's networks are kept at, from 0, in order."""
        rng = np.random.default_rng((self.seed, run, 1))
        return np.sort(rng.choice(self.steps // self.every, self.snapshots, replace=False))


def make(zoo: Zoo, folder: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Train the networks of all shards that are not there yet, in a folder that is claimed.

    Args:
      zoo: what to make.
      folder: where shards and index go.

    Yields:
      After each shard how many runs are done, those of earlier calls included, and the success
      rates of its networks on unseen sums.

    Raises:
      UserError: if a shard that is there is damaged.
    """
    kept, plan = Shards(folder), zoo.shards()
    done = 0
    for number, (training, runs) in enumerate(plan):
        done += len(runs)
        if not kept.file(number).exists():
            params, records = _networks(zoo, training, runs)
            kept.write(number, params, records)
        _, records = kept.read(number)
        if (number + 1) % 16 == 0 or number + 1 == len(plan):
            kept.write_index(number + 1, len(plan))
        yield done, np.array([r["test_success"] for r in records])


def _networks(zoo: Zoo, training: Training, runs: range) -> tuple[Any, list[Record]]:
    """The networks of a shard: of each run those of its times."""
    hyper = zoo.hyperparameters(training, runs)
    spare = zoo.together - len(runs)
    padded = jax.tree.map(lambda x: np.concatenate([x, np.repeat(x[-1:], spare)]), hyper)
    params, scores = jax.tree.map(np.asarray, train(training, padded))
    rows = [(i, time) for i, run_ in enumerate(runs) for time in zoo.times(run_)]
    i, time = np.array(rows).T
    records = [
        _record(training, runs[a], a, t, hyper, Scores(*(s[a, t] for s in scores))) for a, t in rows
    ]
    return jax.tree.map(lambda x: x[i, time], params), records


def _record(
    training: Training, run_: int, place: int, time: int, hyper: Hyperparameters, scores: Scores
) -> Record:
    own = {name: values[place].item() for name, values in hyper._asdict().items()}
    found = {name: round(float(value), 6) for name, value in scores._asdict().items()}
    step = (int(time) + 1) * training.every
    return {
        "run": run_,
        "step": step,
        "width": training.width,
        "batch_size": training.batch_size,
        **own,
        **found,
    }


def zoo_of(config: ConfigDict) -> Zoo:
    """The zoo of a config's block.

    Raises:
      UserError: if there is none, or it cannot be made.
    """
    block: Mapping[str, Any] = config.get("zoo", {})
    if not block:
        raise UserError("the config has no block zoo; see configs/predict/rnn_zoo.py")
    return made_of(Zoo, "zoo", block)


def main(argv: Sequence[str]) -> None:
    """Train the zoo of the config, or what is missing of it."""
    del argv
    zoo = zoo_of(_CONFIG.value)
    folder = Path(_WORKDIR.value).expanduser() / FOLDER
    total = sum(zoo.runs)
    config = dict(_CONFIG.value.zoo.to_dict())
    with (
        resumable("the runs that are done"),
        claimed(folder, config, (INDEX, "shards")),
        writing_to(folder),
    ):
        successes: list[np.ndarray] = []
        with Progress(0, total) as progress:
            for done, found in make(zoo, folder):
                successes.append(found)
                mean = np.concatenate(successes).mean()
                progress(done, partial("runs, mean success {:.2f}".format, mean))
    found = np.concatenate(successes)
    print(f"wrote {folder / INDEX}, {len(found):,} networks of {total:,} runs")
    print("success on unseen sums, in tenths: " + " ".join(map(str, histogram(found))))


def histogram(successes: np.ndarray) -> list[int]:
    """How many networks are in each tenth of the success rates."""
    return np.histogram(successes, np.linspace(0, 1, 11))[0].tolist()


if __name__ == "__main__":
    run(main)
