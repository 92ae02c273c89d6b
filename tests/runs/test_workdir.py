import errno
import json
import os
import shutil

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from lopt.base.errors import UserError
from lopt.runs.workdir import claimed, require_own, writing_to

CONFIG = {"seed": 0, "outer": {"steps": 3, "widths": (1, 2)}}
WRITTEN = ("trials", "report.md")


def test_a_workdir_keeps_config_and_versions(tmp_path):
    with claimed(tmp_path / "a" / "b", CONFIG, WRITTEN):
        saved = json.loads((tmp_path / "a" / "b" / "config.json").read_text())
    assert saved["config"] == {"seed": 0, "outer": {"steps": 3, "widths": [1, 2]}}
    assert {"python", "jax", "lopt"} <= saved["versions"].keys()


def test_the_same_config_may_come_again_and_another_may_not(tmp_path):
    for _ in range(2):
        with claimed(tmp_path, CONFIG, WRITTEN):
            pass
    with pytest.raises(UserError, match=r"outer\.steps is 3"):
        claimed(tmp_path, {**CONFIG, "outer": {"steps": 4, "widths": (1, 2)}}, WRITTEN).__enter__()
    assert json.loads((tmp_path / "config.json").read_text())["config"]["outer"]["steps"] == 3


def test_what_helps_with_a_value_that_differs_is_said(tmp_path):
    with claimed(tmp_path, CONFIG, WRITTEN):
        pass
    fixes = {"outer.steps": "take more", "outer.steps_more": "no"}
    longer = {**CONFIG, "outer": {"steps": 4, "widths": (1, 2)}}
    with pytest.raises(UserError, match="take more"):
        require_own(tmp_path, longer, WRITTEN, fixes)
    with pytest.raises(UserError, match="seed"):
        require_own(tmp_path, {**CONFIG, "seed": 1}, WRITTEN, fixes)


def test_a_second_process_is_refused_and_changes_nothing(tmp_path):
    with claimed(tmp_path, CONFIG, WRITTEN):
        before = {p: p.read_bytes() for p in tmp_path.iterdir()}
        with pytest.raises(UserError, match=f"process {os.getpid()}"):
            claimed(tmp_path, CONFIG, WRITTEN).__enter__()
        assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


BROKEN = [b"", b"{", b"{}", b"[]", b"3", b"\xff\xfe{}", b"[" * 100_000, b'{"config": "x"}']


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_config_file_is_named_and_kept(content, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot use|another config") as raised:
        claimed(tmp_path, CONFIG, WRITTEN).__enter__()
    assert len(str(raised.value).splitlines()) == 1
    assert (tmp_path / "config.json").read_bytes() == content


def test_a_pipe_in_the_place_of_the_config_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(UserError, match=r"config\.json"):
        claimed(tmp_path, CONFIG, WRITTEN).__enter__()


@pytest.mark.parametrize("name", WRITTEN)
def test_files_of_nobody_knows_which_run_are_not_written_over(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=name):
        claimed(tmp_path, CONFIG, WRITTEN).__enter__()
    assert os.listdir(tmp_path) == [name]


def test_other_files_may_lie_in_a_workdir(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with claimed(tmp_path, CONFIG, WRITTEN):
        pass
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_a_killed_run_left_half_written_is_removed_and_files_of_others_stay(tmp_path):
    left = [f"{place}.0123abcd.partial" for place in ("report.md", "trials/a/b.npz")]
    kept = ["film.mkv.partial", "trials/a/b.npz", "mine/c.0123abcd.partial"]
    with claimed(tmp_path, CONFIG, WRITTEN):
        for name in left + kept:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("")
    with claimed(tmp_path, CONFIG, WRITTEN):
        found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {".lock", "config.json", *kept}


def remove(folder):
    shutil.rmtree(folder)


def move(folder):
    folder.rename(folder.with_name("moved"))


def replace(folder):
    move(folder)
    shutil.copytree(folder.with_name("moved"), folder)


def empty(folder):
    (folder / "config.json").unlink()


@pytest.mark.parametrize("error", [None, KeyError("of a library"), SystemExit(143)], ids=str)
@pytest.mark.parametrize("take_away", [remove, move, replace, empty], ids=lambda f: f.__name__)
def test_a_workdir_that_does_not_stay_is_said_whatever_else_happens(take_away, error, tmp_path):
    def run():
        with claimed(tmp_path / "run", CONFIG, WRITTEN) as claim:
            claim.require_there()
            take_away(tmp_path / "run")
            with pytest.raises(UserError, match="moved"):
                claim.require_there()
            if error:
                raise error

    with pytest.raises(UserError, match="run was moved"):
        run()


def test_an_error_in_a_workdir_that_stays_is_what_it_is(tmp_path):
    with pytest.raises(KeyError), claimed(tmp_path, CONFIG, WRITTEN):
        raise KeyError


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot use"):
        claimed(tmp_path / "file" / "run", CONFIG, WRITTEN).__enter__()
    with pytest.raises(UserError, match="cannot use"):
        require_own(tmp_path / "file" / "run", CONFIG, WRITTEN)


FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, FULL, "run/metrics.jsonl"),
        ValueError(
            'RESOURCE_EXHAUSTED: Error writing local file "run/checkpoints/2/_sharding": Failed to '
            "open: \"run/_sharding.__lock\": No space left on device [os_error_code='28']"
        ),
        SafetensorError(f"I/O error: {FULL} (os error {errno.ENOSPC})"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_disk_that_is_full_is_one_line_whatever_library_finds_it(error, tmp_path):
    with pytest.raises(UserError) as raised, writing_to(tmp_path):
        raise error
    assert f"{tmp_path} can no longer be written ({FULL}); " in str(raised.value)


def test_safetensors_says_what_the_system_says(tmp_path):
    with pytest.raises(UserError, match="No such file or directory"), writing_to(tmp_path):
        save_file({"x": np.zeros(1)}, tmp_path / "no folder" / "x.safetensors")


@pytest.mark.parametrize(
    "error", [ValueError("x"), TimeoutError("x"), BrokenPipeError(32, "x"), UserError("x")]
)
def test_other_errors_stay_what_they_are(error, tmp_path):
    with pytest.raises(type(error)) as raised, writing_to(tmp_path):
        raise error
    assert raised.value is error
