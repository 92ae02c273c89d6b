"""Predict how well networks do from their weights.

python -m lopt.predict --config=configs/predict/rnn_zoo.py --workdir=runs/zoo
python -m lopt.predict --config=configs/predict/rnn_zoo.py --workdir=runs/mine \
    --networks=checkpoints --scores=scores.csv --spec=mymodel:loss

The first reads the zoo that python -m lopt.predict.zoo left in the workdir. The same command
resumes. With --networks predictors are trained on all of them, or on as many as
--config.predict.sizes says.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from lopt.base.errors import UserError
from lopt.predict.experiment import FOLDER, Experiment, Settings
from lopt.predict.folder import from_folder
from lopt.predict.models import PREDICTORS
from lopt.predict.networks import Networks
from lopt.predict.report import WRITTEN, write
from lopt.predict.shards import from_zoo
from lopt.runs.commands import run
from lopt.runs.progress import Progress
from lopt.runs.signals import resumable
from lopt.runs.workdir import claimed

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/predict/.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where predictors and the report go.", required=True
)
_NETWORKS = flags.DEFINE_string(
    "networks", None, "A folder of networks, safetensors or orbax; by default the workdir's zoo."
)
_SCORES = flags.DEFINE_string("scores", None, "A CSV file: network,score or network,score,run.")
_SPEC = flags.DEFINE_string(
    "spec", None, "module:function of the params, or a JSON file of PermutationSpec.to_json()."
)
flags.mark_flag_as_required("config")


def main(argv: Sequence[str]) -> None:
    """Train all predictors of the config, and write report.md and results.json to the workdir."""
    del argv
    config, workdir = _CONFIG.value, Path(_WORKDIR.value).expanduser()
    if "predict" not in config:
        raise UserError("the config has no block predict; see configs/predict/rnn_zoo.py")
    settings = Settings.from_config(config.predict)
    given = config_flags.get_override_values(flags.FLAGS["config"])
    if _NETWORKS.value is not None and "zoo" in config and "predict.sizes" not in given:
        settings = replace(settings, sizes=())  # those of the config are of its zoo
    networks, others = _networks(config, workdir)
    experiment = Experiment(settings, networks, others, workdir / FOLDER)
    claim = {
        "predict": {**config.predict.to_dict(), "sizes": settings.sizes},
        "networks": _digest([networks, *others.values()]),
    }
    jobs, outcomes = experiment.jobs(), []
    with resumable("the trainings that are done"), claimed(workdir, claim, WRITTEN):
        with Progress(0, len(jobs)) as progress:
            for outcome in experiment.run():
                outcomes.append(outcome)
                job = outcome.job
                progress(len(outcomes), partial("{}, {:,} networks".format, job.name, job.size))
        print(write(experiment, outcomes, workdir))
    print(f"wrote {workdir / 'report.md'}, results.json and predictors/")


def _networks(config: ConfigDict, workdir: Path) -> tuple[Networks, Mapping[str, Networks]]:
    """The networks to train on, and by width those on which nothing is trained."""
    given = {"networks": _NETWORKS.value, "scores": _SCORES.value, "spec": _SPEC.value}
    missing = [name for name, value in given.items() if value is None]
    if not missing:
        folder, scores, spec = map(str, given.values())
        return from_folder(Path(folder).expanduser(), Path(scores).expanduser(), spec), {}
    if len(missing) < len(given):
        first = next(name for name in given if name not in missing)
        raise UserError(f"--{first} needs --{missing[0]} as well: networks, their scores and spec")
    found = from_zoo(workdir / "zoo", config.get("target", "test_success"))
    width, *others = found
    return found[width], {str(other): found[other] for other in others}


def _digest(networks: Sequence[Networks]) -> str:
    """SHA-256 of the networks, so that predictors of others are not taken for theirs."""
    digest = hashlib.sha256()
    for some in networks:
        digest.update(json.dumps([some.spec.to_json(), some.scores.tolist()]).encode())
        for x in jax.tree.leaves(some.params):
            digest.update(np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    run(main, {"predict.predictors.*": PREDICTORS})
