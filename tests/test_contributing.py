"""CONTRIBUTING.md: its map is the tree, and its walks name what is there."""

import ast
import re

from guides import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
MAP = re.search(r"## The map.*?```\n(.*?)```", TEXT, re.DOTALL)[1]
FOLDERS = re.findall(r"^  (\w+)/", MAP, re.MULTILINE)


def imported(folder):
    """The folders of the package that a folder's modules import from."""
    for path in (ROOT / "lopt" / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.ImportFrom(module=str(name)):
                    yield path, name.split(".")
                case ast.Import(names=names):
                    yield from ((path, alias.name.split(".")) for alias in names)


def test_the_map_is_the_tree():
    packages = {path.parent.name for path in (ROOT / "lopt").glob("*/__init__.py")}
    assert sorted(FOLDERS) == sorted(packages)
    assert [n for n in re.findall(r"^([\w.]+)", MAP, re.MULTILINE) if not (ROOT / n).exists()] == []


def test_a_folder_imports_only_from_those_below_it():
    upward = [
        (str(path.relative_to(ROOT)), name[1])
        for place, folder in enumerate(FOLDERS)
        for path, name in imported(folder)
        if name[0] == "lopt" and name[1:2] and name[1] in FOLDERS[:place]
    ]
    assert upward == []


def test_each_name_of_a_walk_is_defined_in_its_file():
    names = re.findall(r"`([\w/]+\.py):(\w+)`", TEXT)
    assert len(names) > 20
    assert [(file, name) for file, name in names if not defines(file, name)] == []


def defines(file, name):
    path = ROOT / file
    pattern = rf"^\s*(?:def|class) {name}\b|^{name}\b.* = "
    return path.is_file() and re.search(pattern, path.read_text(), re.MULTILINE) is not None
