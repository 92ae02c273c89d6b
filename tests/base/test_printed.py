"""Nothing that a terminal would obey is printed of names, errors and metadata."""

import io

import pytest
from absl import flags
from rich.console import Console

from lopt.base.errors import UserError
from lopt.runs.commands import one_line_errors
from lopt.runs.progress import Progress
from lopt.symmetry import Axes, PermutationSpec

NAME = "\x1b[31m[/red] \a\x9b"
PRINTED = r"\x1b[31m[/red] \x07\x9b"


def test_a_spec_is_printed_without_what_a_terminal_would_obey():
    spec = PermutationSpec({NAME: Axes(NAME)}, {NAME: 3})
    text = str(spec)
    assert text.replace("\n", "").isprintable()
    assert f"{PRINTED}.0" in text


@pytest.mark.parametrize("kind", [UserError, flags.Error])
def test_an_error_of_a_command_is_one_printable_line(kind, capsys):
    with pytest.raises(SystemExit), one_line_errors():
        raise kind(f"no {NAME}\nin the\nfile")
    assert capsys.readouterr().err == f"error: no {PRINTED} in the file\n"


@pytest.mark.parametrize("on_terminal", [True, False])
def test_what_progress_says_is_no_markup(on_terminal):
    file = io.StringIO()
    console = Console(file=file, force_terminal=on_terminal, no_color=True, width=200)
    with Progress(0, 1, console) as told:
        told(1, lambda: NAME)
    assert PRINTED in file.getvalue()
    assert NAME not in file.getvalue()
