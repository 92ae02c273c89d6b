"""The tables of README.md and docs/ are those of the results beside the reports."""

import re
import runpy

import pytest
from guides import ROOT

HERE = runpy.run_path(str(ROOT / "docs" / "tables.py"))
PAGES, TABLES, rendered = HERE["PAGES"], HERE["TABLES"], HERE["rendered"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_current(page):
    text = page.read_text()
    assert rendered(text) == text, "run python docs/tables.py"


def test_every_table_stands_somewhere_and_every_mark_has_its_end():
    texts = [page.read_text() for page in PAGES]
    begun = [name for text in texts for name in re.findall(r"<!-- table ([\w-]+) -->", text)]
    assert set(begun) == set(TABLES)
    assert sum(text.count("<!-- end of table -->") for text in texts) == len(begun)


def test_a_number_that_was_changed_by_hand_is_noticed():
    text = (ROOT / "README.md").read_text()
    mark = text.index("<!-- table ")
    digit = re.compile(r"\d").search(text, text.index("| --- |", mark)).start()
    changed = f"{text[:digit]}{9 - int(text[digit])}{text[digit + 1 :]}"
    assert changed != text
    assert rendered(changed) == text
