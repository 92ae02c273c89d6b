"""What is printed ends nothing: no reader, no space, no letters, no stream at all."""

import io
import os
import sys
from pathlib import Path

import pytest

from lopt.runs.streams import lasting_streams


def without_space():
    return Path("/dev/full").open("w")


def without_a_reader():
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (without_space, "No space left on device"),
        (without_a_reader, "Broken pipe"),
    ],
)
@pytest.mark.parametrize("flush", [True, False])
def test_output_that_cannot_be_written_is_said_once(stream, reason, flush, monkeypatch):
    errors = io.StringIO()
    with stream() as output:
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "stderr", errors)
        with lasting_streams():
            for i in range(20_000):  # more than the stream's buffer
                print(i, flush=flush)
        assert sys.stdout is output
    assert errors.getvalue().splitlines() == [
        f"standard output can no longer be written ({reason}); the work goes on without it"
    ]


def test_errors_that_cannot_be_written_are_dropped(monkeypatch):
    with without_space() as full:
        monkeypatch.setattr(sys, "stderr", full)
        with lasting_streams():
            for _ in range(3):
                print("error: a line", file=sys.stderr, flush=True)


def test_closed_streams_take_anything(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with lasting_streams():
        print("a line", flush=True)
        print("an error", file=sys.stderr, flush=True)
        assert not sys.stdout.isatty()


@pytest.mark.parametrize(
    ("encoding", "text", "written"),
    [
        ("ascii", "0.5 ± 0.1, Größe", b"0.5 ? 0.1, Gr??e"),
        ("utf-8", "0.5 ± 0.1, a name: \udcff", "0.5 ± 0.1, a name: ?".encode()),
    ],
)
def test_letters_that_a_terminal_does_not_have_are_question_marks(
    encoding, text, written, monkeypatch
):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding))
    with lasting_streams():
        print(text, end="")
    assert printed.getvalue() == written
