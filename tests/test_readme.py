"""What the README prints runs as printed."""

import re
import shlex

from guides import ROOT
from readme import run_python

from lopt.tasks.__main__ import main as list_or_show

README = (ROOT / "README.md").read_text()


def test_the_python_of_the_readme_runs_and_prints_its_table(tmp_path):
    names = run_python(tmp_path)
    table = re.search(r"```\n(tensor .*?)\n```", README, re.DOTALL)[1]
    assert table == str(names["spec"])


def test_the_commands_of_the_readme_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^python (.*quickstart/?(?:report)?)$", README, re.MULTILINE)
    assert len(commands) == 2
    recipe = makefile.replace("$(RUN)", "runs/quickstart").replace("$(BIN)/", "")
    for command in commands:
        assert f"python {command}\n" in recipe


def test_the_task_that_the_readme_shows_is_shown(capsys):
    (words,) = re.findall(r"^python -m lopt.tasks (show .*)$", README, re.MULTILINE)
    list_or_show(shlex.split(words))
    assert re.search(r"OptimizedLSTMCell_0/hf/kernel .*32×32", capsys.readouterr().out)


def test_every_linked_file_is_there():
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / target).exists(), target
