"""Meta-train a learned optimizer.

python -m lopt.meta_train --config=configs/quickstart.py --workdir=runs/quickstart \
    --config.outer.steps=500

The same command resumes a run that was interrupted. --extend takes a finished run on to a larger
--config.outer.steps, and --from=base begins with the theta of a file.
For several GPUs or hosts see docs/scaling.md, for tasks that you define docs/meta-training.md.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lopt.meta_train.extension import earlier_lengths, extend
from lopt.meta_train.problems import FIX, PARTS, Setup
from lopt.meta_train.results import RESULT, WRITTEN, has_result, is_finished, write_results
from lopt.meta_train.run import finish
from lopt.meta_train.settings import require_settings
from lopt.runs import distributed
from lopt.runs.checkpoints import require_keepable, require_space
from lopt.runs.commands import run
from lopt.runs.memory import memory_for
from lopt.runs.workdir import claimed_by_first

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run's files go.", required=True)
_EXTEND = flags.DEFINE_bool(
    "extend", False, "Take the finished run in the workdir on to more outer.steps."
)
_FROM = flags.DEFINE_string(
    "from", None, "Begin with the theta of a learned optimizer: a file, or base."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, for a run in several processes."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes the run has.")
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Take these three from the cluster's environment, such as SLURM's."
)
flags.mark_flag_as_required("config")


@distributed.ended_with_the_others()
def main(argv: Sequence[str]) -> None:
    """Meta-train as the config says, and leave the optimizer in the workdir.

    In a run of several processes all come through the same collective calls in the same order, as
    `lopt.runs.distributed` says; after `finish` the first one alone has something left to do.
    """
    del argv
    config = _CONFIG.value
    require_settings(config.to_dict())
    distributed.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value, _DISTRIBUTED.value)
    distributed.require_alike([config.to_dict(), _EXTEND.value, _FROM.value])
    setup = Setup(config, _FROM.value)
    workdir = Path(_WORKDIR.value).expanduser()
    require_keepable(workdir)
    if _EXTEND.value:
        distributed.from_first(lambda: extend(workdir, setup.identity, has_result(workdir)))
    if distributed.from_first(lambda: is_finished(workdir, setup.identity)):
        distributed.say(f"{workdir / RESULT} is there already: this run is finished")
        return
    with claimed_by_first(workdir, setup.identity, WRITTEN) as claim:
        earlier = distributed.from_first(lambda: earlier_lengths(workdir))
        lengths = [*earlier, config.outer.steps]
        parts = [(setup.training(steps), steps) for steps in lengths]
        start = setup.start(parts[0][0])
        distributed.from_first(lambda: require_space(workdir, start))
        with memory_for(f"a meta-step of {2 * setup.estimator.pairs} inner runs", FIX):
            last, record = finish(
                parts,
                setup.validation,
                start,
                workdir,
                setup.mixture.names,
                setup.held_out.names,
                checkpoint_every=config.outer.checkpoint_every,
                max_skipped=config.outer.max_skipped,
                claim=claim,
            )
        if claim is not None and record is not None:
            claim.require_there()
            write_results(workdir, setup, lengths, last, record)


if __name__ == "__main__":
    run(main, PARTS)
