"""Runs in two processes, as processes on this host."""

import json
import os
import random
import re
import shutil
import signal
import socket

import jax
import numpy as np
import pytest
from processes import (
    assert_refused,
    checkpoints_of,
    ends,
    launch,
    run,
    wait_for_checkpoint,
)

from lopt.base.errors import UserError
from lopt.rules import load
from lopt.runs import distributed

ARGUMENTS = (
    "--config=tests/validated.py",
    "--config.rule.layers=pointwise",
    "--config.rule.widths=(4,)",
    "--config.estimator.pairs=2",
    "--config.estimator.horizon=8",
    "--config.estimator.truncation=2",
    "--config.task.widths=(4,)",
    "--config.task.batch_size=8",
    "--config.outer.checkpoint_every=20",
)
FEW, ENDLESS = "--config.outer.steps=6", "--config.outer.steps=1000000"


def free_port():
    """A port that nobody listens at, outside the range from which outgoing connections take one."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as candidate:
            if candidate.connect_ex(("localhost", port)):
                return port


OUT = """
import runpy, sys
sys.stdout = open({out!r}, "w")
runpy.run_path("meta_train.py", run_name="__main__")
"""
"""meta_train.py with what Python prints in a file: libraries print to the process' output."""


def launch_two(workdir, *arguments, devices=1, out=None):
    port = free_port()
    return [
        launch(
            *(["meta_train.py"] if out is None else ["-c", OUT.format(out=str(out / str(i)))]),
            f"--workdir={workdir}",
            *ARGUMENTS,
            *arguments,
            f"--coordinator=localhost:{port}",
            "--processes=2",
            f"--process={i}",
            devices=devices,
        )
        for i in range(2)
    ]


def losses_of(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    assert [line["step"] for line in whole] == list(range(1, len(whole) + 1))
    return [line["meta_loss"] for line in whole]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workdir of a run of two processes with two devices each, how they ended, their output."""
    folder = tmp_path_factory.mktemp("finished")
    ended = ends(*launch_two(folder / "run", FEW, devices=2, out=folder))
    return folder / "run", ended, [(folder / str(i)).read_text() for i in range(2)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The workdir of a run one of whose processes got Ctrl-C, and how they ended."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    processes = launch_two(workdir, ENDLESS)
    wait_for_checkpoint(workdir, *processes, after=20)
    processes[1].send_signal(signal.SIGINT)
    return workdir, ends(*processes)


@pytest.mark.slow
def test_two_processes_give_the_theta_of_one(finished, tmp_path):
    workdir, ended, _ = finished
    assert [code for code, _, _ in ended] == [0, 0], ended
    alone = run("meta_train.py", f"--workdir={tmp_path / 'one'}", *ARGUMENTS, FEW)
    assert alone.returncode == 0, alone.stderr
    for name in ("optimizer", "best"):
        thetas = [load(w / f"{name}.safetensors").theta for w in (workdir, tmp_path / "one")]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *thetas)


@pytest.mark.slow
def test_only_the_first_process_prints_and_writes(finished):
    workdir, _, (first, second) = finished
    assert "2 processes with 4 devices" in first
    assert "wrote" in first
    assert second == ""
    assert len(losses_of(workdir)) == 6
    assert len(list((workdir / "tensorboard").iterdir())) == 1


@pytest.mark.slow
def test_a_finished_run_ends_all_processes_that_slurm_starts(finished, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_PORT", str(free_port()))
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "localhost")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    processes = []
    for rank in ("0", "1"):
        monkeypatch.setenv("SLURM_PROCID", rank)
        monkeypatch.setenv("SLURM_LOCALID", rank)
        flags = (f"--workdir={finished[0]}", *ARGUMENTS, FEW, "--distributed")
        processes.append(launch("meta_train.py", *flags))
    ended = ends(*processes)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert "this run is finished" in ended[0][1]


@pytest.mark.slow
def test_a_workdir_of_another_config_ends_all_processes(finished):
    for code, _, err in ends(*launch_two(finished[0], FEW, "--config.seed=7")):
        assert code == 2
        assert err.strip().splitlines()[-1].startswith("error: ")
        assert "seed is 0" in err


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_after_the_same_checkpoint(stopped):
    workdir, ended = stopped
    assert [code for code, _, _ in ended] == [128 + signal.SIGTERM] * 2, ended
    steps = checkpoints_of(workdir)[-1]
    assert steps == len(losses_of(workdir))
    assert f"stopped after {steps} meta-steps" in ended[0][1]


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_the_run_is_resumed_bit_for_bit(stopped, tmp_path):
    before = len(losses_of(stopped[0]))
    copy = shutil.copytree(stopped[0], tmp_path / "copy")
    for workdir, victim in ((copy, 0), (tmp_path / "straight", 1)):
        processes = launch_two(workdir, ENDLESS)
        wait_for_checkpoint(workdir, *processes, after=before)
        processes[victim].kill()
        code, _, err = ends(*processes)[1 - victim]
        assert code not in (0, 2), err
        if victim == 0:  # jax.distributed may notice it first, and aborts with a line of its own
            assert re.search("another (process of this run ended|task died)", err)
        else:
            assert "error: another process" in err
    interrupted, straight = losses_of(copy), losses_of(tmp_path / "straight")
    common = min(len(interrupted), len(straight))
    assert common > before
    assert interrupted[:common] == straight[:common]


@pytest.mark.slow
def test_a_checkpoint_that_one_process_cannot_read_is_passed_over_by_all(stopped, tmp_path):
    copy = shutil.copytree(stopped[0], tmp_path / "copy")
    *_, before, newest = checkpoints_of(copy)
    damaged = list((copy / "checkpoints" / str(newest)).rglob("ocdbt.process_1/**/*"))
    for file in (file for file in damaged if file.is_file()):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert damaged
    processes = launch_two(copy, ENDLESS)
    wait_for_checkpoint(copy, *processes, after=newest)
    processes[0].send_signal(signal.SIGTERM)
    (code, out, err), (other, _, other_err) = ends(*processes)
    assert (code, other) == (128 + signal.SIGTERM,) * 2, (err, other_err)
    assert f"resuming after {before} of" in out
    assert f"checkpoint {newest} cannot be read" in err + other_err


@pytest.mark.slow
def test_processes_that_do_not_share_their_workdir_are_refused(tmp_path):
    port, flags = free_port(), ("meta_train.py", *ARGUMENTS, FEW, "--processes=2")
    processes = [
        launch(*flags, f"--coordinator=localhost:{port}", f"--process={i}", f"--workdir={folder}")
        for i, folder in enumerate((tmp_path / "here", tmp_path / "there"))
    ]
    for code, _, err in ends(*processes):
        assert code == 2
        assert "do not share" in err


@pytest.mark.slow
def test_a_peer_that_does_not_come_is_one_line():
    wait = (
        "from lopt.runs import distributed\n"
        "distributed.PATIENCE = 3\n"
        f"distributed.join('localhost:{free_port()}', 2, 0)\n"
    )
    result = run("-c", wait)
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "within 3 s" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("localhost:1", 2, None), "--process is missing"),
        ((None, 2, None), "--coordinator and --process"),
        (("localhost", 2, 0), "must be host:port, the port from 1 to 65535, not 'localhost'"),
        (("localhost:99999", 2, 0), "the port from 1 to 65535, not 'localhost:99999'"),
        (("localhost:²", 2, 0), "the port from 1 to 65535, not"),
        (("localhost:0", 2, 0), "the port from 1 to 65535, not"),
        (("localhost:1", 2, 2), "--process must be from 0 to 1"),
    ],
)
def test_flags_that_make_no_sense_are_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        distributed.join(*arguments)


PEER = "[external/gloo/gloo/transport/tcp/pair.cc:538] Read error [10.0.0.1]:6569: Connection "


class Ended(BaseException):
    """In place of the end of a process."""


@pytest.fixture
def one_of_two(monkeypatch):
    def end(status):
        assert status == 1
        raise Ended

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "_exit", end)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"UNKNOWN: Gloo all-reduce failed: {PEER}reset by peer"),
        ValueError(f"UNKNOWN: Gloo AllGather failed: {PEER}closed by peer"),
        jax.errors.JaxRuntimeError(
            "INTERNAL: NCCL operation ncclAllReduce(a, b) failed: remote process exited or there "
            "was a network error. Last NCCL warning(error) log entry"
        ),
        jax.errors.JaxRuntimeError(
            "DEADLINE_EXCEEDED: Barrier timed out. Id: save::0.\n\nRPC: /Barrier "
            "[type.googleapis.com/tensorflow.CoordinationServiceError='']"
        ),
    ],
)
def test_what_is_raised_when_a_peer_is_lost_is_one_line(error, one_of_two, capsys):
    with pytest.raises(Ended), distributed.ended_with_the_others():
        raise error
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: another process of this run ended")


def test_a_peer_that_is_lost_while_a_checkpoint_is_written_is_one_line(one_of_two, capsys):
    told = "ABORTED: [type.googleapis.com/tensorflow.CoordinationServiceError='']"
    error = TimeoutError("Timed out while waiting for async_write_complete barrier.")
    error.__cause__ = jax.errors.JaxRuntimeError(told)
    with pytest.raises(Ended), distributed.ended_with_the_others():
        raise error
    assert capsys.readouterr().err.startswith("error: another process of this run ended")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no step beyond the barrier"),
        RuntimeError("libnccl.so.2: cannot open shared object file"),
        jax.errors.JaxRuntimeError("INTERNAL: NCCL operation x failed: unhandled cuda error"),
        jax.errors.JaxRuntimeError("INVALID_ARGUMENT: Gloo is not compiled in"),
        ValueError("the coordination of shapes (3,) and (4,) failed"),
        UserError("gloo: Connection reset by peer"),
    ],
)
def test_other_errors_keep_their_traceback(error, one_of_two):
    with pytest.raises(type(error)) as raised, distributed.ended_with_the_others():
        raise error
    assert raised.value is error


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port}"):
            distributed.join(f"localhost:{port}", 2, 0)


def test_a_first_process_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(distributed, "PATIENCE", 0.5)
    with pytest.raises(UserError, match="localhost:"):
        distributed.join(f"localhost:{free_port()}", 2, 1)


def test_half_given_flags_and_a_missing_cluster_are_one_line(tmp_path):
    flags = ("meta_train.py", f"--workdir={tmp_path / 'run'}", *ARGUMENTS)
    assert_refused(run(*flags, "--processes=2"), "--coordinator and --process")
    assert_refused(run(*flags, "--distributed"), "--distributed", "--coordinator")
    assert not (tmp_path / "run").exists()
