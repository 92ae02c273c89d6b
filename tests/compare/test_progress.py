import io

import pytest
from rich.console import Console

from lopt.compare.progress import progress


def shown(console):
    with progress(console) as told:
        told.of(6)
        for _ in range(3):
            told.trial("mlp", "adamw")
        told.ended("mlp", "adamw", "final loss 0.1 at 0.01 cosine", 0)
        told.ended("mlp", "broken", "failed: for a reason", 3)


def test_where_there_is_no_terminal_a_line_says_how_far_it_is():
    file = io.StringIO()
    shown(Console(file=file, force_terminal=False))
    first, second = file.getvalue().splitlines()
    assert first.startswith("3/6 trials, ")
    assert first.endswith(" s: mlp: adamw: final loss 0.1 at 0.01 cosine")
    assert second.startswith("6/6 trials, ")
    assert second.endswith("broken: failed: for a reason")


@pytest.mark.parametrize("width", [60, 120])
def test_a_terminal_has_a_bar(width):
    file = io.StringIO()
    shown(Console(file=file, force_terminal=True, width=width))
    assert "6/6" in file.getvalue()
    assert "mlp: adamw" in file.getvalue()
    assert "trials, " not in file.getvalue()


def test_without_a_console_nothing_is_said(capsys):
    shown(None)
    assert capsys.readouterr() == ("", "")
