"""Runs that are killed, stopped and damaged, as processes."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import processes
import pytest
from processes import checkpoints_of, wait_for_checkpoint

from lopt.rules import load

STEPS = 400
ARGUMENTS = (
    "--config=tests/validated.py",
    f"--config.outer.steps={STEPS}",
    "--config.outer.checkpoint_every=20",
    "--config.outer.learning_rate=0.03",
    "--config.estimator.pairs=2",
    "--config.estimator.horizon=8",
    "--config.estimator.truncation=2",
    "--config.task.widths=(4,)",
    "--config.task.batch_size=8",
    "--config.seed=4",
)
RESULT = "optimizer.safetensors"
BEST = "best.safetensors"


def launch(workdir):
    return processes.launch("meta_train.py", f"--workdir={workdir}", *ARGUMENTS)


def finish(workdir):
    ((code, out, err),) = processes.ends(launch(workdir))
    assert code == 0, err
    return out, err


def assert_same_run(workdir, reference):
    for name in (RESULT, BEST):
        assert (workdir / name).read_bytes() == (reference / name).read_bytes()

    def losses(folder):
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [(line["step"], line["meta_loss"], line.get("validation_loss")) for line in lines]

    assert losses(workdir) == losses(reference)
    assert [step for step, *_ in losses(workdir)] == list(range(1, STEPS + 1))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("reference") / "run"
    finish(workdir)
    return workdir


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A workdir whose run was stopped, as by a terminal that is closed, and what it printed."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    process = launch(workdir)
    wait_for_checkpoint(workdir, process)
    process.send_signal(signal.SIGHUP)
    return workdir, *processes.ends(process)[0]


def test_the_best_theta_is_an_early_one(reference):
    """Otherwise a run that lost its best theta when it was killed could find it again."""
    lines = map(json.loads, (reference / "metrics.jsonl").read_text().splitlines())
    losses = {v["step"]: v["validation_loss"] for v in lines if "validation_loss" in v}
    assert list(losses) == [*range(30, STEPS, 30), STEPS]
    best = load(reference / BEST).provenance
    assert best["meta_step"] == min(losses, key=losses.get) < STEPS / 4
    assert best["validation_loss"] == losses[best["meta_step"]]


def copy_of(stopped, tmp_path):
    return Path(shutil.copytree(stopped[0], tmp_path / "copy"))


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_it_never_was(reference, tmp_path):
    workdir, generator = tmp_path / "run", random.Random(0)
    killed = 0
    while killed < 4 and not (workdir / RESULT).exists():
        process = launch(workdir)
        wait_for_checkpoint(workdir, process, after=max(checkpoints_of(workdir), default=0))
        time.sleep(generator.uniform(0, 0.3))
        process.kill()
        ((code, _, _),) = processes.ends(process)
        killed += code == -signal.SIGKILL
    assert killed
    finish(workdir)
    assert_same_run(workdir, reference)


@pytest.mark.slow
def test_a_signal_stops_a_run_after_a_checkpoint_and_it_is_resumed(stopped, reference, tmp_path):
    workdir, code, out, err = stopped
    assert code == 128 + signal.SIGHUP, err
    assert "the same command resumes from there" in out
    assert not (workdir / RESULT).exists()
    steps = len((workdir / "metrics.jsonl").read_text().splitlines())
    assert checkpoints_of(workdir)[-1] == steps
    copy = copy_of(stopped, tmp_path)
    out, _ = finish(copy)
    assert f"resuming after {steps} of {STEPS} meta-steps" in out
    assert_same_run(copy, reference)


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(stopped, reference, tmp_path):
    copy = copy_of(stopped, tmp_path)
    steps = checkpoints_of(copy)
    assert len(steps) > 1
    for file in (copy / "checkpoints" / str(steps[-1])).rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    out, err = finish(copy)
    assert f"checkpoint {steps[-1]} cannot be read" in err
    assert f"resuming after {steps[-2]} of" in out
    assert_same_run(copy, reference)


@pytest.mark.slow
def test_damage_to_all_checkpoints_is_one_line(stopped, tmp_path):
    copy = copy_of(stopped, tmp_path)
    for file in (copy / "checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    ((code, _, err),) = processes.ends(launch(copy))
    assert code == 2
    assert "remove the folder" in err.strip().splitlines()[-1]
