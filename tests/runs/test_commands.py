"""The command lines as processes: what they write, and how they answer mistakes."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from processes import assert_refused, run, run_in_turn

import lopt
from lopt.meta_train.initial_theta import theta_digest
from lopt.rules import load
from lopt.runs.lock import only_process

TINY = (
    "--config=configs/relational.py",
    "--config.outer.steps=3",
    "--config.estimator.pairs=2",
    "--config.estimator.horizon=4",
    "--config.estimator.truncation=2",
    "--config.task.widths=(4,)",
)


def meta_train(workdir, *arguments):
    return run("meta_train.py", f"--workdir={workdir}", *(arguments or TINY))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a folder") / "run"
    result = meta_train(folder)
    assert result.returncode == 0, result.stderr
    return folder


def files_of(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_leaves_its_files(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert {"meta_loss", "gradient_norm", "diverged", "skipped"} <= json.loads(lines[0]).keys()
    assert list((workdir / "tensorboard").iterdir())
    assert (workdir / "meta_loss.png").read_bytes()[:4] == b"\x89PNG"
    provenance = load(workdir / "optimizer.safetensors").provenance
    assert provenance["task"]["widths"] == [4]
    assert provenance["sources"] == ["digits of scikit-learn"]
    assert provenance["outer"]["steps"] == 3
    assert {"python", "jax"} <= provenance["versions"].keys()
    assert provenance["versions"]["lopt"] == lopt.__version__


def test_the_same_config_and_seed_give_the_same_theta(workdir, tmp_path):
    assert meta_train(tmp_path / "again").returncode == 0
    name = "optimizer.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (workdir / name).read_bytes()
    assert meta_train(tmp_path / "other", *TINY, "--config.seed=1").returncode == 0
    assert (tmp_path / "other" / name).read_bytes() != (workdir / name).read_bytes()


VALIDATED = (
    "--config=tests/validated.py",
    *TINY[1:],
    "--config.validation.every=2",
    "--config.validation.runs=2",
)


def test_a_validation_leaves_the_best_theta_and_the_last_as_it_is(workdir, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    result = meta_train(tmp_path / "run", *VALIDATED)
    assert result.returncode == 0, result.stderr
    name = "optimizer.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (workdir / name).read_bytes()
    assert not (workdir / "best.safetensors").exists()

    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line).get("validation_loss") for line in lines]
    assert losses[0] is None
    best = load(tmp_path / "run" / "best.safetensors").provenance
    assert best["validation_loss"] == min(losses[1:])
    assert best["meta_step"] == 1 + losses.index(min(losses[1:]))
    assert best["validation"]["runs"] == 2
    assert set(best) - set(load(tmp_path / "run" / name).provenance) == {
        "validation",
        "validation_loss",
        "meta_step",
    }
    shown = next(line for line in result.stdout.splitlines() if "3/3" in line)
    loss = rf"loss \d\.\d{{4}} valid {losses[2]:.4f} grad \S+ diverged \d+% [\d,]+ inner steps/s"
    assert re.search(rf"3/3 {loss} \d+:\d\d:\d\d$", shown.strip()), shown


def test_a_theta_tied_to_one_architecture_is_validated_on_that_or_not_at_all(tmp_path):
    exact = (*VALIDATED, "--config.rule.layers=exact")
    same = meta_train(tmp_path / "same", *exact, "--config.validation.task=mlp(widths=(4,))")
    assert same.returncode == 0, same.stderr
    assert load(tmp_path / "same" / "best.safetensors").spec is not None
    none = meta_train(tmp_path / "none", *exact, "--config.validation.every=0")
    assert none.returncode == 0, none.stderr
    assert not (tmp_path / "none" / "best.safetensors").exists()


def test_a_finished_run_is_left_alone(workdir):
    before = files_of(workdir)
    result = meta_train(workdir)
    assert result.returncode == 0
    assert "finished" in result.stdout
    assert files_of(workdir) == before


def test_a_damaged_optimizer_is_no_finished_run(workdir, tmp_path):
    copy = shutil.copytree(workdir, tmp_path / "copy")
    file = copy / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    before = files_of(copy)
    assert_refused(meta_train(copy), "damaged", "remove it")
    assert files_of(copy) == before
    file.unlink()
    assert meta_train(copy).returncode == 0
    assert file.read_bytes() == (workdir / "optimizer.safetensors").read_bytes()


UNREADABLE = """
import pathlib, sys
import lopt.base.archive, lopt.meta_train.results

def refuse(*_):
    raise PermissionError(13, "Permission denied")

pathlib.Path.open = refuse
try:
    lopt.meta_train.results.has_result(pathlib.Path(sys.argv[1]))
except lopt.base.archive.UnreadableError as error:
    print(error)
"""


def test_an_optimizer_that_may_not_be_read_is_not_to_be_removed(workdir):
    result = run("-c", UNREADABLE, workdir)
    assert result.stdout.strip().endswith("Permission denied"), result.stderr


def test_a_second_run_in_a_workdir_is_refused(tmp_path):
    with only_process(tmp_path):
        before = files_of(tmp_path)
        assert_refused(meta_train(tmp_path), f"process {os.getpid()}", "another --workdir")
        assert files_of(tmp_path) == before


def test_a_batch_that_no_memory_holds_is_one_line(tmp_path):
    result = meta_train(tmp_path / "run", *TINY, "--config.task.batch_size=500_000_000")
    assert_refused(result, "4 inner runs", "GiB", "batch_size")


def test_another_config_does_not_touch_the_workdir(workdir):
    before = files_of(workdir)
    result = meta_train(workdir, *TINY, "--config.outer.steps=4")
    assert_refused(result, "outer.steps is 3", "--extend")
    assert files_of(workdir) == before


@pytest.fixture(scope="module")
def extended(workdir, tmp_path_factory):
    """A run extended twice, a copy without checkpoints likewise, and one from its theta."""
    folder = tmp_path_factory.mktemp("extended")
    whole, again, begun = (folder / name for name in ("whole", "again", "begun"))
    for copy in (whole, again):
        shutil.copytree(workdir, copy)
    shutil.rmtree(again / "checkpoints")
    commands = [
        *(("--extend", f"--workdir={whole}", f"--config.outer.steps={steps}") for steps in (4, 6)),
        *(("--extend", f"--workdir={again}", f"--config.outer.steps={steps}") for steps in (4, 6)),
        (
            f"--from={whole / 'optimizer.safetensors'}",
            f"--workdir={begun}",
            "--config.outer.learning_rate=1e-12",
        ),
    ]
    words = json.dumps([["lopt.meta_train", *TINY, *command] for command in commands])
    result = run("-m", "tests.in_turn", words)
    assert result.returncode == 0, result.stderr
    return folder


def test_a_finished_run_is_extended_to_the_same_bits_from_any_checkpoint(workdir, extended):
    whole, again = (extended / name / "optimizer.safetensors" for name in ("whole", "again"))
    assert load(whole).provenance["earlier_lengths"] == [3, 4]
    assert load(whole).provenance["outer"]["steps"] == 6
    lines = (extended / "whole" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[:3] == (workdir / "metrics.jsonl").read_text().splitlines()
    assert again.read_bytes() == whole.read_bytes()


def test_meta_training_begins_with_the_theta_of_a_file(workdir, extended):
    source = extended / "whole" / "optimizer.safetensors"
    begun, first = load(extended / "begun" / "optimizer.safetensors"), load(source)
    assert begun.provenance["from"] == {"file": str(source), "theta": theta_digest(first.theta)}
    found, expected, other = (
        flatten(o.theta) for o in (begun, first, load(workdir / "optimizer.safetensors"))
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.abs(found - other).max() > 1e-4


def flatten(theta):
    return np.asarray(ravel_pytree(theta)[0])


def test_es_is_picked_by_the_config(tmp_path):
    result = meta_train(
        tmp_path,
        "--config=configs/relational.py:es",
        "--config.outer.steps=2",
        "--config.estimator.pairs=2",
        "--config.estimator.horizon=3",
        "--config.task.widths=(4,)",
    )
    assert result.returncode == 0, result.stderr
    assert load(tmp_path / "optimizer.safetensors").provenance["estimator"]["name"] == "es"


MISTAKES = [
    (("--config=configs/quikstart.py",), ("no config file", "quikstart")),
    (
        (*TINY, "--config.outer.learning_rate=nan"),
        ("outer.learning_rate must be a positive finite number",),
    ),
    ((*TINY, "--config.task.name=mpl"), ("unknown task 'mpl'", "did you mean mlp")),
    ((*TINY, "--config.task.data=digit"), ("unknown data set", "did you mean digits")),
    ((*TINY, "--config.rule.layers=exat"), ("exat", "did you mean exact")),
    ((*TINY, "--config.estimator.name=ges"), ("unknown estimator",)),
    ((*TINY, "--config.estimator.truncation=3"), ("multiple of truncation",)),
    ((*TINY, "--config.inner.schedule=cosin"), ("unknown schedule", "did you mean cosine")),
    ((*TINY, "--workdri=x"), ("workdri",)),
    ((*TINY, "stray"), ("unexpected argument 'stray'",)),
    (
        (*TINY, "--processes=2", "--process=0", "--coordinator=localhost:99999"),
        ("the port from 1 to 65535, not 'localhost:99999'",),
    ),
    ((*TINY, f"--config.task.batch_size={10**12}"), ("batch_size must be at most 2,147,483,647",)),
    ((*TINY, "--extend"), ("holds no run to extend", "leave out --extend")),
    ((*TINY, "--from=bse"), ("no learned optimizer file 'bse'",)),
    ((*TINY, "--from=base"), ("another rule than the config's", '--config.rule="rotated"')),
    (
        (*VALIDATED, "--config.validation.task=mpl"),
        ("unknown task 'mpl'", "did you mean mlp"),
    ),
    (
        (*VALIDATED, "--config.validation.every=-1"),
        ("validation.every", "an integer of at least 0"),
    ),
    ((*VALIDATED, "--config.validation.runs=0"), ("validation.runs", "a positive integer")),
    ((*VALIDATED, "--config.validation.evry=1"), ("'evry'", "did you mean every")),
    (
        (*VALIDATED, "--config.rule.layers=exact"),
        ("validation's task has another", "every 0"),
    ),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """What came of each mistake, and the folder of their workdirs."""
    folder = tmp_path_factory.mktemp("mistakes")
    flags = [(f"--workdir={folder / str(i)}", *words) for i, (words, _) in enumerate(MISTAKES)]
    return run_in_turn(*(("lopt.meta_train", *words) for words in flags)), folder


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=lambda i: MISTAKES[i][0][-1])
def test_mistakes_in_a_run_are_one_line_and_leave_nothing(number, refusals):
    results, folder = refusals
    assert_refused(results[number], *MISTAKES[number][1])
    assert not (folder / str(number)).exists()


def test_a_gru_meta_trains_and_its_file_names_its_text(tmp_path):
    result = meta_train(
        tmp_path / "run",
        "--config=configs/rnn.py",
        "--config.task.cell=gru",
        "--config.task.data=text(size=20_000)",
        "--config.rule.widths=(4,)",
        "--config.estimator.truncation=2",
        "--config.estimator.horizon=4",
        "--config.outer.steps=20",
    )
    assert result.returncode == 0, result.stderr
    (source,) = load(tmp_path / "run" / "optimizer.safetensors").provenance["sources"]
    assert re.search(r"standard library of Python 3.*sha256 [0-9a-f]{64}$", source)


def test_a_run_whose_inner_runs_all_diverge_ends_with_the_reason(tmp_path):
    flags = (*TINY, "--config.inner.learning_rate=1e30", "--config.outer.max_skipped=2")
    result = meta_train(tmp_path / "run", *flags)
    assert_refused(result, "2 meta-steps", "diverged")
    assert not (tmp_path / "run" / "optimizer.safetensors").exists()


def test_one_theta_is_meta_trained_on_several_tasks(tmp_path):
    (tmp_path / "config.py").write_text(
        "import runpy\n"
        "def get_config():\n"
        "    config = runpy.run_path('configs/relational.py')['get_config']()\n"
        "    config.unlock()\n"
        "    config.task = dict(name='mixture', tasks=('mlp(widths=(4,))', 'quadratic'))\n"
        "    tasks = ('mlp(widths=(3,))', 'quadratic')\n"
        "    held_out = dict(name='mixture', tasks=tasks, weights=(3, 1))\n"
        "    config.validation = dict(task=held_out, every=3, runs=2)\n"
        "    return config\n"
    )
    flags = (f"--config={tmp_path / 'config.py'}", *TINY[1:-1], "--config.inner.normalize=True")
    result = meta_train(tmp_path / "run", *flags)
    assert result.returncode == 0, result.stderr
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    for name in ("meta_loss", "diverged"):
        parts = [line[f"{name}/mlp(widths=(4,))"], line[f"{name}/quadratic"]]
        assert line[name] == pytest.approx(sum(parts) / 2)
    parts = [line["validation_loss/mlp(widths=(3,))"], line["validation_loss/quadratic"]]
    assert line["validation_loss"] == pytest.approx(0.75 * parts[0] + 0.25 * parts[1])
    provenance = load(tmp_path / "run" / "optimizer.safetensors").provenance
    assert provenance["sources"] == ["digits of scikit-learn", ""]
    tied = meta_train(tmp_path / "tied", *flags, "--config.rule.layers=exact")
    assert_refused(tied, "tied", "rule.layers")
    assert not (tmp_path / "tied").exists()
