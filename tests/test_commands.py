"""Commands and paths that the documentation prints name files, modules and flags that are there."""

import re
from importlib.util import find_spec

import pytest
from guides import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    # The log names what was there at the time.
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.stem != "research-log"),
]
FOLDERS = r"lopt|tests|benchmarks|configs|examples|docs|\.ci"
SOURCES = "\n".join(
    path.read_text()
    for folder in ("lopt", "benchmarks", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
)


def code(page):
    """The blocks of a page and its texts in backticks, a line for each command."""
    text = page.read_text()
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join(blocks + inline).replace("\\\n", " ")


def absent(page):
    """What a page names and is not there."""
    text = code(page)
    paths = re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./*-]*[\w*]", text)
    commands = re.findall(r"python (?:-m )?(?:lopt|meta_train|examples|benchmarks).*", text)
    scripts = re.findall(r"python ([\w/]+\.py)", text)
    modules = re.findall(r"python -m (lopt[\w.]*)", text)
    flags = {flag for command in commands for flag in re.findall(r" --([\w-]+)", command)}
    return [
        *(path for path in paths + scripts if not any(ROOT.glob(path))),
        *(module for module in modules if find_spec(module) is None),
        *(flag for flag in flags if not re.search(rf'"(--)?{flag}"', SOURCES)),
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page):
    assert absent(page) == []


def test_what_is_absent_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\npython -m lopt.metatrain --confg=configs/quikstart.py\n```\n`lopt/optim.py`"
    )
    assert absent(page) == ["configs/quikstart.py", "lopt/optim.py", "lopt.metatrain", "confg"]
