"""Sections of the research log that comments in the code refer to are there."""

import re

from guides import ROOT

LOG = (ROOT / "docs" / "research-log.md").read_text()
TITLES = re.findall(r"^#+ (.*)$", LOG, re.MULTILINE)
QUOTED = re.compile(r'"([^"]+)" (?:in|of) docs/research-log\.md')


def test_every_section_that_is_quoted_is_there():
    quoted = [
        (path.name, title)
        for folder in ("lopt", "benchmarks", "configs", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for title in QUOTED.findall(re.sub(r"\s+(?:# )?", " ", path.read_text()))
    ]
    assert quoted
    assert [(file, title) for file, title in quoted if title not in TITLES] == []


def test_no_two_sections_have_one_title():
    assert len(set(TITLES)) == len(TITLES)
