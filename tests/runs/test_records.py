import json
import os
import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from lopt.base.digested import read_digested, with_digest
from lopt.base.errors import UserError
from lopt.runs.records import Records, read_records


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


def test_everything_that_is_recorded_is_in_tensorboard_as_well(tmp_path):
    with Records(tmp_path, 0) as record:
        record.write(1, {"loss": 0.25, "loss/a": 1.5})
        record.flush()
        (file,) = (tmp_path / "tensorboard").iterdir()
        event = events_of(file)[-1]
    (line,) = lines_of(tmp_path)
    assert event.step == line.pop("step") == 1
    assert {value.tag: value.simple_value for value in event.summary.value} == line


def test_tensorboard_is_told_which_steps_are_taken_again(tmp_path):
    with Records(tmp_path, 5):
        (file,) = (tmp_path / "tensorboard").iterdir()
    assert [(e.step, e.session_log.status) for e in events_of(file)][-1] == (6, SessionLog.START)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full disk to try")
def test_an_event_file_that_cannot_be_written_ends_the_run_and_does_not_hold_it_up(tmp_path):
    """Its library's own writer would wait forever, once its queue of ten events is full."""

    def record_on_a_full_disk():
        with open("/dev/full", "wb") as full, Records(tmp_path, 0) as record:
            (file,) = (tmp_path / "tensorboard").iterdir()
            redirect(file, full)
            for step in range(1, 100):
                record.write(step, {"loss": 0.5})
                record.flush()

    with pytest.raises(OSError, match="No space"):
        record_on_a_full_disk()


def recorded(folder, steps):
    with Records(folder, 0) as record:
        for step in range(1, steps + 1):
            record.write(step, {"loss": step / 8})
    return folder / "metrics.jsonl"


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"step": 2, "loss": 0.5}',
        b"",
        b'{"loss": 1.0, "st',
        *(
            json.dumps(with_digest(record)).encode()
            for record in (
                {"step": 2},
                {"step": [2], "loss": 0.5},
                {"step": 2, "loss": "0.5"},
                {"step": 2, "loss": 10**400},
                {"step": 2, "loss": 0.5, "speed": {}},
                {"step": 4, "loss": 0.5},
            )
        ),
    ],
    ids=range(12),
)
def test_records_that_are_lost_are_counted_and_the_others_kept(damage, tmp_path, caplog):
    file = recorded(tmp_path, 3)
    first, _, third = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join((first, damage, third, b"")))
    with Records(tmp_path, 3, ["loss"]) as record:
        assert {step: found["loss"] for step, found in record.before.items()} == {
            1: 0.125,
            3: 0.375,
        }
    assert f"{file}: the records of 1 of 3 steps" in caplog.text
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 3]


def test_no_flip_of_a_bit_changes_what_is_read_of_a_step(tmp_path):
    file = recorded(tmp_path, 3)
    whole, lost = file.read_bytes(), 0
    expected = {line["step"]: line for line in lines_of(tmp_path)}
    for place in np.random.default_rng(0).integers(8 * len(whole), size=300):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        file.write_bytes(content)
        found = read_records(file, 3)
        assert found.items() <= expected.items()
        lost += found != expected
    assert lost > 0.95 * 300


def test_a_pipe_in_their_place_is_one_line_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(UserError, match="pipe"):
        Records(tmp_path, 0)


def test_records_that_are_all_there_are_no_warning(tmp_path, caplog):
    for done in (0, 1):
        with Records(tmp_path, done) as record:
            record.write(done + 1, {"loss": 0.5})
    assert not caplog.text
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2]
