"""Train a zoo of networks that answer sums, for predictors of their success.

python -m lopt.predict.zoo --config=configs/predict/rnn_zoo.py --workdir=runs/zoo

The same command resumes a zoo that was interrupted.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from lopt.base.errors import UserError
from lopt.base.parts import made_of
from lopt.predict.shards import INDEX, SHARDS, Record, Shards, Stacked
from lopt.predict.training import Zoo, train
from lopt.runs.commands import run
from lopt.runs.progress import Progress
from lopt.runs.signals import resumable
from lopt.runs.workdir import claimed

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/predict/.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the networks go, in a folder zoo.", required=True
)
flags.mark_flag_as_required("config")

FOLDER = "zoo"
"""The folder of a workdir in which the networks are."""

_INDEXED = 16  # shards between two times that the index is written, which reads all shards before


def make(zoo: Zoo, folder: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Train the networks of all shards that are not there yet, in a folder that is claimed.

    Yields after each shard how many runs are done, those of earlier calls included, and the success
    rates of its networks on unseen sums.
    """
    shards, runs_of_shards = Shards(folder), _runs_of_shards(zoo)
    done, total = 0, len(runs_of_shards)
    for number, (width, runs) in enumerate(runs_of_shards):
        done += len(runs)
        if not shards.file(number).exists():
            batch_size = zoo.batch_sizes[number % len(zoo.batch_sizes)]
            shards.write(number, *_networks(zoo, width, batch_size, runs))
        _, records = shards.read(number)
        if (number + 1) % _INDEXED == 0 or number + 1 == total:
            shards.write_index(number + 1, total)
        yield done, np.array([r["test_success"] for r in records])


def _runs_of_shards(zoo: Zoo) -> list[tuple[int, range]]:
    """The width and the runs of each shard."""
    found: list[tuple[int, range]] = []
    first = 0
    for width, runs in zip(zoo.widths, zoo.runs, strict=True):
        for start in range(first, first + runs, zoo.together):
            found.append((width, range(start, min(start + zoo.together, first + runs))))
        first += runs
    return found


def _networks(zoo: Zoo, width: int, batch_size: int, runs: range) -> tuple[Stacked, list[Record]]:
    """The networks of a shard: of each run those of its times."""
    hyper = zoo.hyperparameters(runs)
    # a shard of fewer runs repeats its last one: another number would be compiled again
    spare = zoo.together - len(runs)
    padded = jax.tree.map(lambda x: np.concatenate([x, np.repeat(x[-1:], spare)]), hyper)
    params, scores = jax.tree.map(np.asarray, train(zoo, width, batch_size, padded))
    rows = [(place, int(time)) for place, r in enumerate(runs) for time in zoo.times(r)]
    records = [
        {
            "run": runs[place],
            "step": (time + 1) * zoo.every,
            "width": width,
            "batch_size": batch_size,
            **{name: values[place].item() for name, values in hyper._asdict().items()},
            **{name: round(float(x[place, time]), 6) for name, x in scores._asdict().items()},
        }
        for place, time in rows
    ]
    places, times = np.array(rows).T
    return jax.tree.map(lambda x: x[places, times], params), records


def main(argv: Sequence[str]) -> None:
    """Train the zoo of the config, or what is missing of it."""
    del argv
    if not _CONFIG.value.get("zoo"):
        raise UserError("the config has no block zoo; see configs/predict/rnn_zoo.py")
    zoo = made_of(Zoo, "zoo", _CONFIG.value.zoo)
    block = _CONFIG.value.zoo.to_dict()
    folder = Path(_WORKDIR.value).expanduser() / FOLDER
    successes: list[np.ndarray] = []
    with (
        resumable("the runs that are done"),
        claimed(folder, block, (INDEX, SHARDS)),
        Progress(0, sum(zoo.runs)) as progress,
    ):
        for done, found in make(zoo, folder):
            successes.append(found)
            mean = np.concatenate(successes).mean()
            progress(done, partial("runs, mean success {:.2f}".format, mean))
    found = np.concatenate(successes)
    print(f"wrote {folder / INDEX}, {len(found):,} networks of {sum(zoo.runs):,} runs")
    tenths = np.histogram(found, np.linspace(0, 1, 11))[0]
    print("success on unseen sums, in tenths: " + " ".join(map(str, tenths)))


if __name__ == "__main__":
    run(main)
