import json
import os
import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from lopt.base.digested import read_digested, with_digest
from lopt.base.errors import UserError
from lopt.meta import Metrics, Report, ValidationLoss
from lopt.meta_train.records import Recorder, _records_until, meta_loss_figure, plot_meta_loss


def report(step, *diverged):
    metrics = tuple(Metrics(2.0 * share, share, 10, share / 2) for share in diverged)
    return Report(step, metrics, sum(m.meta_loss for m in metrics) / len(metrics), 0.5, 0)


def lines_of(folder):
    return [read_digested(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events_of(file):
    """The events of a file: of each its length in 8 bytes, 4 of checksum, itself, 4 of checksum."""
    content, events = file.read_bytes(), []
    while content:
        (length,) = struct.unpack("Q", content[:8])
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[12 + length + 4 :]
    return events


def redirect(file, other):
    """Let what this process writes to a file go to another one."""
    for descriptor in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{descriptor}"
        if os.path.exists(path) and os.path.realpath(path) == str(file.resolve()):
            os.dup2(other.fileno(), int(descriptor))


def test_metrics_of_several_problems_are_recorded_apart(tmp_path):
    with Recorder(tmp_path, ("a", "b"), 0, 2, ("c", "d")) as record:
        record(report(1, 0.25, 0.75))
        record(report(2, 0.25, 0.75), ValidationLoss(1.5, (1.0, 3.0)))
    first, second = lines_of(tmp_path)
    assert (first["diverged"], first["diverged/a"], first["diverged/b"]) == (0.5, 0.25, 0.75)
    assert (first["meta_loss"], first["meta_loss/a"], first["meta_loss/b"]) == (1.0, 0.5, 1.5)
    assert (first["restarted"], first["restarted/b"]) == (0.25, 0.375)
    assert not [name for name in first if name.startswith("validation")]
    names = ("validation_loss", "validation_loss/c", "validation_loss/d")
    assert [second[name] for name in names] == [1.5, 1.0, 3.0]


def test_everything_that_is_recorded_is_in_tensorboard_as_well(tmp_path, capsys):
    with Recorder(tmp_path, ("a", "b"), 0, 1) as record:
        record(report(1, 0.25, 0.75))
        record.flush()
        (file,) = (tmp_path / "tensorboard").iterdir()
        events = events_of(file)
    (line,) = lines_of(tmp_path)
    assert events[-1].step == line.pop("step") == 1
    shown = {value.tag: value.simple_value for value in events[-1].summary.value}
    assert shown == pytest.approx(line)
    assert "(0.5 1.5)" in capsys.readouterr().out


def test_tensorboard_is_told_which_steps_are_taken_again(tmp_path):
    with Recorder(tmp_path, ("a",), 5, 9):
        (file,) = (tmp_path / "tensorboard").iterdir()
    assert [(e.step, e.session_log.status) for e in events_of(file)][-1] == (6, SessionLog.START)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full disk to try")
def test_an_event_file_that_cannot_be_written_ends_the_run_and_does_not_hold_it_up(tmp_path):
    """Its library's own writer would wait forever, once its queue of ten events is full."""

    def record_on_a_full_disk():
        with open("/dev/full", "wb") as full, Recorder(tmp_path, ("a",), 0, 100) as record:
            (file,) = (tmp_path / "tensorboard").iterdir()
            redirect(file, full)
            for step in range(1, 100):
                record(report(step, 0.5))
                record.flush()

    with pytest.raises(OSError, match="No space"):
        record_on_a_full_disk()


def test_those_of_one_problem_are_not(tmp_path):
    with Recorder(tmp_path, ("a",), 0, 1, ("c",)) as record:
        record(report(1, 0.25), ValidationLoss(1.5, (1.5,)))
    assert not [name for name in lines_of(tmp_path)[0] if "/" in name]


def test_a_run_that_is_resumed_keeps_the_records_of_the_steps_that_are_kept(tmp_path):
    with Recorder(tmp_path, ("a",), 0, 4, ("c",)) as record:
        for step in (1, 2, 3):
            record(report(step, step / 8), ValidationLoss(float(step), (float(step),)))
    with Recorder(tmp_path, ("a",), 2, 4, ("c",)) as record:
        assert (record.history, record.validations) == ({1: 0.25, 2: 0.5}, {1: 1.0, 2: 2.0})
        record(report(3, 1.0))
        assert record.recent_meta_loss(2) == pytest.approx(0.375)
        assert record.recent_meta_loss(3) == pytest.approx((0.25 + 0.5 + 2) / 3)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2, 3]


def recorded(folder, steps):
    with Recorder(folder, ("a",), 0, steps) as record:
        for step in range(1, steps + 1):
            record(report(step, step / 8))
    return folder / "metrics.jsonl"


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"step": 2, "meta_loss": 0.5}',
        b"",
        b'{"meta_loss": 1.0, "st',
        *(
            json.dumps(with_digest(record)).encode()
            for record in (
                {"step": 2},
                {"step": [2], "meta_loss": 0.5},
                {"step": 2, "meta_loss": "0.5"},
                {"step": 2, "meta_loss": 10**400},
                {"step": 2, "meta_loss": 0.5, "validation_loss": {}},
                {"step": 4, "meta_loss": 0.5},
            )
        ),
    ],
    ids=range(12),
)
def test_records_that_are_lost_are_counted_and_the_others_kept(damage, tmp_path, caplog):
    file = recorded(tmp_path, 3)
    first, _, third = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join((first, damage, third, b"")))
    with Recorder(tmp_path, ("a",), 3, 4) as record:
        assert record.history == {1: 0.25, 3: 0.75}
        assert record.recent_meta_loss(3) == 0.5
    assert f"{file}: the records of 1 of 3 meta-steps are lost" in caplog.text
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 3]


def test_no_flip_of_a_bit_changes_what_is_read_of_a_step(tmp_path):
    file = recorded(tmp_path, 3)
    whole, lost = file.read_bytes(), 0
    expected = {line["step"]: line for line in lines_of(tmp_path)}
    for place in np.random.default_rng(0).integers(8 * len(whole), size=300):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        file.write_bytes(content)
        found = _records_until(file, 3)
        assert found.items() <= expected.items()
        lost += found != expected
    assert lost > 0.95 * 300


def test_a_pipe_in_their_place_is_one_line_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(UserError, match="is a pipe and is not written over"):
        Recorder(tmp_path, ("a",), 0, 2)


def test_records_that_are_all_there_are_no_warning(tmp_path, caplog):
    for done in (0, 1):
        with Recorder(tmp_path, ("a",), done, 2) as record:
            record(report(done + 1, 0.5))
    assert not caplog.text


def test_all_records_may_be_lost(tmp_path):
    with Recorder(tmp_path, ("a",), 3, 3) as record:
        assert record.recent_meta_loss(3) is None
    plot_meta_loss(record.history, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_the_picture_shows_the_meta_loss_its_mean_and_the_validations():
    history = {step: 2.0 / step for step in range(1, 101)}
    validations = {30: 0.9, 100: 0.5}
    (axes,) = meta_loss_figure(history, validations).axes
    each, mean, points = axes.lines
    assert dict(zip(*each.get_data(), strict=True)) == history
    steps, means = mean.get_data()
    assert list(steps) == list(range(4, 101))
    np.testing.assert_allclose(means[0], np.mean([2.0, 1.0, 2 / 3, 0.5]))
    assert dict(zip(*points.get_data(), strict=True)) == validations
    assert (points.get_marker(), points.get_linestyle()) == ("o", "None")
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["one meta-step", "mean of 4", "validation, held-out task"]
    assert len(meta_loss_figure(history).axes[0].lines) == 2


@pytest.mark.parametrize(("lowest", "scale"), [(0.5, "log"), (-0.5, "linear")])
def test_the_axis_of_the_picture_has_room_for_negative_losses(lowest, scale):
    (axes,) = meta_loss_figure({1: 1.0, 2: 0.75}, {2: lowest}).axes
    axes.figure.canvas.draw()
    low, high = axes.get_ylim()
    assert (axes.get_yscale(), low < lowest, high > 1) == (scale, True, True)
