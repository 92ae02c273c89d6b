"""Names and errors with markup, mathtext or escapes in them are shown as they are."""

import io

import numpy as np
import pytest
from rich.console import Console

from lopt.compare.comparison import Comparison
from lopt.compare.sentences import verdicts
from lopt.compare.tables import tables
from lopt.compare.trials import Outcome, Setting, Trial
from lopt.runs.progress import Progress, print_line

NAMES = {
    "brackets": ("sgd [/red] [bold]", "mlp [/", ":warning: [link]"),
    "mathtext": (r"$\frac{$ a_b^c", r"\alpha \$ cost $$", r"$x$ {\bf"),
}
ESCAPES = ("\x1b[31mred\x1b[0m", "bell\a \x9b2J", "a\u202eb\nc")


def comparison(optimizer, task, error):
    """One optimizer that broke beside one that did not, on a task, without training any."""
    losses = np.linspace(1.0, 0.5, 24).reshape(2, 12)
    trials = [Trial(Setting(r, "cosine"), losses / r, {"loss": losses[:, -1]}) for r in (1.0, 2.0)]
    outcomes = {
        (task, optimizer): Outcome(tuple(trials)),
        (task, "other"): Outcome(tuple(trials[::-1])),
        (task, f"{optimizer}, tuned"): Outcome(error=error),
    }
    kinds = {name: "own" for _, name in outcomes}
    return Comparison(kinds, {task: 12}, outcomes, optimizer, "final_loss", 2, 2, {task: error})


def printed(results, error):
    """All that is printed, on a terminal and elsewhere."""
    texts = []
    for on_terminal in (True, False):
        file = io.StringIO()
        console = Console(file=file, force_terminal=on_terminal, no_color=True, width=1000)
        with Progress(0, 2, console, every=None) as progress:
            for task in results.tasks:
                for name in results.optimizers:
                    progress(2, lambda task=task, name=name: f"{task}: {name}")
                    progress.log(f"{task}: {name}: {error}")
        texts.append(file.getvalue())
        file = io.StringIO()
        console = Console(file=file, force_terminal=False, width=1000)
        console.print(tables(results))
        for sentence in verdicts(results):
            print_line(console, sentence)
        texts.append(file.getvalue())
    return texts


@pytest.mark.parametrize("names", NAMES)
def test_names_and_errors_are_printed_and_drawn_as_they_are(names, tmp_path):
    optimizer, task, error = NAMES[names]
    results = comparison(optimizer, task, error)
    for text in printed(results, error)[1:3]:
        for name in (optimizer, error):
            assert name in text
    results.save(tmp_path)
    labels = [
        text.get_text()
        for figure in results.plot().values()
        for axes in figure.axes
        for text in (axes.title, axes.xaxis.label, *axes.texts, *axes.get_yticklabels())
    ]
    assert optimizer in labels
    assert f"times as fast as {optimizer} (filled: in steps)" in labels


def test_what_a_terminal_would_obey_is_written_out_everywhere(tmp_path):
    results = comparison(*ESCAPES)
    on_terminal, tables_, lines, _ = printed(results, ESCAPES[2])
    for text in (tables_, lines):
        assert r"\x1b[31mred\x1b[0m" in text
        assert not any(c in text for c in "\x1b\a\x9b\u202e")
    assert "\x1b[31m" not in on_terminal
    results.save(tmp_path)
    for report in ("report.md", "report.html"):
        text = (tmp_path / report).read_text()
        assert r"a\u202eb\nc" in text
        assert not any(c in text for c in "\x1b\a\x9b\u202e")


def test_markdown_has_no_html_of_names(tmp_path):
    comparison("<script>", "a|b", "<img>").save(tmp_path)
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert any(line.startswith(r"| \<script>, tuned |") for line in lines)
    assert not any("<script>" in line.replace(r"\<", "") for line in lines)
