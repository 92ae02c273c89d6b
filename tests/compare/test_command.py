"""The command line as a process: what it writes, and how it answers mistakes and signals."""

import json
import os
import signal
import time

import jax
import pytest
from processes import assert_refused, ends, launch, run, run_in_turn

from lopt.rules import LearnedOptimizer, UNFRule, save
from lopt.symmetry import Axes, PermutationSpec

CONFIG = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict({
        "optimizers": ("sgdm", "adamw", "lion"),
        "tasks": ("quadratic", "mlp(widths=(3,), batch_size=8)"),
        "steps": 6,
        "seeds": 2,
        "rates": 5,
        "time_steps": False,
    })
"""


@pytest.fixture(scope="module")
def optimizer(tmp_path_factory):
    """A file without meta-training, whose provenance names a task."""
    file = tmp_path_factory.mktemp("an optimizer") / "optimizer.safetensors"
    rule = UNFRule(layers="pointwise", widths=(2,), features=("gradient",))
    theta = rule.init(jax.random.key(0), PermutationSpec({"x": Axes("x")}, {"x": 1}))
    provenance = {
        "task": "quadratic(dimension=3)",
        "inner": {"steps": 6},
    }
    save(file, LearnedOptimizer(rule, theta, None, provenance, 0.02, "cosine"))
    return file


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.py"
    file.write_text(CONFIG)
    return f"--config={file}"


def compare(*arguments, **variables):
    return run("-m", "lopt.compare", *arguments, **variables)


GATED = """
import os, pathlib, threading, time
import optax


def gated(learning_rate):
    # It is made in the main thread first, to see whether it fits, and compiled in another.
    gate = pathlib.Path(os.environ["GATE"])
    while threading.current_thread() is not threading.main_thread() and not gate.exists():
        time.sleep(0.01)
    return optax.sgd(learning_rate)
"""
"""An optimizer that is not compiled before a file is there."""


def trials_of(workdir):
    return {p: p.read_bytes() for p in (workdir / "trials").rglob("*.safetensors")}


def test_the_short_form_compares_on_the_task_of_meta_training(optimizer, tmp_path):
    flags = (f"--optimizer={optimizer}", "--seeds=2", "--rates=1", "--baselines=sgdm,adamw")
    result = compare(*flags, f"--workdir={tmp_path / 'report'}", MPLBACKEND="no such backend")
    assert result.returncode == 0, result.stderr
    data = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [(t["name"], t["steps"]) for t in data["tasks"]] == [("quadratic(dimension=3)", 6)]
    names = ["adamw", "sgdm", "learned", "learned, tuned"]
    assert [o["name"] for o in data["optimizers"]] == names
    assert "times as fast as adamw" in result.stdout
    assert "times as fast as adamw" in (tmp_path / "report" / "report.md").read_text()
    lines = [line for line in result.stdout.splitlines() if " trials, " in line]
    assert [line.split(": ")[2] for line in lines] == ["sgdm", "adamw", "learned", "learned, tuned"]


def test_a_killed_comparison_resumes_to_the_same_results(config, tmp_path, monkeypatch):
    whole, killed, gate = (tmp_path / name for name in ("whole", "killed", "gate"))
    (tmp_path / "gates.py").write_text(GATED)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("GATE", str(gate))
    config = (config, "--config.optimizers=('sgdm', 'adamw', 'gates:gated')")
    gate.touch()
    result = compare(*config, f"--workdir={whole}")
    assert result.returncode == 0, result.stderr

    gate.unlink()
    process = launch("-m", "lopt.compare", *config, f"--workdir={killed}")
    deadline = time.monotonic() + 120
    while len(trials_of(killed)) < 6:
        assert process.poll() is None, ends(process)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    second = compare(*config, f"--workdir={killed}")
    process.kill()
    process.wait()
    assert_refused(second, f"process {process.pid}")
    before = trials_of(killed)
    assert len(before) <= 10
    gate.touch()

    damaged = next(iter(before))
    damaged.write_bytes(before.pop(damaged)[:100])
    result = compare(*config, f"--workdir={killed}")
    assert result.returncode == 0, result.stderr
    after = trials_of(killed)
    assert before.items() <= after.items()
    for name in ("results.json", "report.md", "report.html"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_an_edited_config_is_refused_and_the_difference_named(config, tmp_path):
    workdir = tmp_path / "run"
    flags = (config, f"--workdir={workdir}", "--config.tasks=('quadratic',)", "--config.rates=1")
    assert compare(*flags).returncode == 0
    before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
    result = compare(*flags, "--config.seeds=3")
    assert_refused(result, "seeds is 2 there and 3 here")
    del before[workdir / ".lock"]
    for file, contents in before.items():
        assert file.read_bytes() == contents


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_comparison_at_once_with_a_line(config, number, tmp_path):
    process = launch("-m", "lopt.compare", config, f"--workdir={tmp_path / 'run'}")
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "config.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    ((code, _, err),) = ends(process)
    assert code == 128 + number
    assert err.strip() == "stopped; the same command resumes after the trials that are done"


def test_reports_of_something_else_are_not_overwritten(config, tmp_path):
    (tmp_path / "report.md").write_text("mine")
    result = compare(config, f"--workdir={tmp_path}")
    assert_refused(result, "report.md", "--workdir")
    assert (tmp_path / "report.md").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.py", "report.md"]


MISTAKES = [
    ((), ("--config=FILE", "--optimizer=FILE")),
    (("--optimizer={}", "--task=mlpp"), ("'mlpp'", "mlp")),
    (("--optimizer={}", "--baselines="), ("--baselines",)),
    (("--optimizer={}", "--seeds=0"), ("seeds",)),
    (("--config={}/good.py", "--seeds=3"), ("--seeds and --config",)),
    (("--config={}/bad.py",), ("'seed'", "seeds")),
]


def test_mistakes_are_one_line_and_leave_nothing(optimizer, tmp_path):
    (tmp_path / "good.py").write_text(CONFIG)
    (tmp_path / "bad.py").write_text(CONFIG.replace('"seeds"', '"seed"'))
    workdir = f"--workdir={tmp_path / 'run'}"
    given = {"--optimizer={}": f"--optimizer={optimizer}"}
    lines = [[given.get(w, w.format(tmp_path)) for w in words] for words, _ in MISTAKES]
    results = run_in_turn(*(("lopt.compare", workdir, *words) for words in lines))
    for result, (_, words) in zip(results, MISTAKES, strict=True):
        assert_refused(result, *words)
    assert not (tmp_path / "run").exists()


def test_an_optimizer_without_provenance_needs_a_task(tmp_path):
    rule = UNFRule(layers="pointwise", widths=(2,), features=("gradient",))
    theta = rule.init(jax.random.key(0), PermutationSpec({"x": Axes("x")}, {"x": 1}))
    file = tmp_path / "bare.safetensors"
    save(file, LearnedOptimizer(rule, theta, None, {}))
    flags = (f"--optimizer={file}", f"--workdir={tmp_path / 'run'}", "--baselines=sgdm")
    assert_refused(compare(*flags), "bare.safetensors", "--task=name")
    small = ("--task=quadratic", "--steps=4", "--seeds=1", "--rates=1")
    result = compare(*flags, *small)
    assert result.returncode == 0, result.stderr
    assert "learned, tuned is" in result.stdout


def test_a_theta_tied_to_another_architecture_is_refused_before_anything_runs(tmp_path):
    rule = UNFRule(layers="exact", widths=(2,), features=("gradient",))
    axes, sizes = {"x": Axes("coordinates")}, {"coordinates": 4}
    spec = PermutationSpec(axes, sizes, fixed=["coordinates"])
    learned = LearnedOptimizer(rule, rule.init(jax.random.key(0), spec), spec, {})
    save(tmp_path / "tied.safetensors", learned)
    result = compare(
        f"--optimizer={tmp_path / 'tied.safetensors'}",
        f"--workdir={tmp_path / 'run'}",
        "--task=quadratic(dimension=5)",
    )
    assert_refused(result, "x axis 0", "4", "5")
    assert not (tmp_path / "run").exists()
