import io
import time

import pytest
from rich.console import Console

from lopt.runs.progress import Progress


def shown(on_terminal, monkeypatch, **options):
    """What is shown of ten steps of 10 s each, of which an eleventh in between has words too."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    file = io.StringIO()
    console = Console(file=file, force_terminal=on_terminal, no_color=True, width=120)
    with Progress(5, 15, console, **options) as progress:
        for step in range(6, 16):
            now[0] += 10
            progress(step, lambda step=step: f"words of {step}")
            if step == 8:
                progress.log("said in between")
    return file.getvalue()


def test_a_log_has_a_line_now_and_then_and_the_last(monkeypatch):
    assert shown(False, monkeypatch).splitlines() == [
        "5/15 compiling",
        "6/15 words of 6 -:--:--",
        "6/15 said in between",
        "9/15 words of 9 0:01:00",
        "12/15 words of 12 0:00:30",
        "15/15 words of 15 0:00:00",
    ]


def test_a_log_may_have_no_lines_but_those_that_it_is_given(monkeypatch):
    assert shown(False, monkeypatch, every=None).splitlines() == ["8/15 said in between"]


@pytest.mark.parametrize("every", [30.0, None])
def test_a_terminal_has_a_bar_and_no_lines(every, monkeypatch):
    text = shown(True, monkeypatch, every=every)
    assert "15/15 words of 15" in text
    assert "said in between" not in text


def test_steps_that_take_minutes_have_a_time_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    file = io.StringIO()
    with Progress(0, 4, Console(file=file, width=120)) as progress:
        for step in (1, 2, 3):
            now[0] += 600
            progress(step, str)
    assert file.getvalue().splitlines()[2:] == ["2/4  0:20:00", "3/4  0:10:00"]


def test_a_quiet_console_shows_nothing(capsys):
    with Progress(0, 1, Console(quiet=True)) as progress:
        progress(1, lambda: "words")
        progress.log("words")
    assert capsys.readouterr() == ("", "")
