"""The results as files: results.json, report.md with its pictures, report.html."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lopt.base.atomic import replacing, write_atomically
from lopt.base.printed import in_markdown
from lopt.compare.figures import figures
from lopt.compare.html import page
from lopt.compare.results import Comparison
from lopt.compare.tables import Row, columns, on_task, over_all_columns, standings, verdicts
from lopt.compare.wording import CAPTIONS, COLUMNS, how, title


def write(results: Comparison, folder: Path) -> None:
    """Write the reports to a folder, each file whole or not at all.

    Raises:
      OSError: if they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = figures(results)
    for name, figure in pictures.items():
        with replacing(folder / f"{name}.png") as partial:
            figure.savefig(partial, dpi=150, format="png")
    write_atomically(folder / "report.html", page(results, pictures))
    write_atomically(folder / "report.md", markdown(results, pictures))
    write_atomically(folder / "results.json", as_json(results.to_dict()))


def as_json(data: dict[str, Any]) -> str:
    """Plain data as JSON, a list of numbers on one line.

    >>> print(as_json({"a": [1, 2], "b": []}))
    {
     "a": [1, 2],
     "b": []
    }
    <BLANKLINE>
    """
    text = json.dumps(data, indent=1, allow_nan=False)
    # No text holds a line break, so that these brackets are those of a list.
    return re.sub(r"\[\n[^][{}\"]*\]", _on_one_line, text) + "\n"


def _on_one_line(found: re.Match) -> str:
    return f"[{' '.join(found[0][1:-1].split())}]"


def markdown(results: Comparison, pictures: Iterable[str]) -> str:
    """The report as a page of Markdown, its pictures as `NAME.png` beside it."""
    lines = [f"# {in_markdown(title(results))}", ""]
    lines += [f"- {in_markdown(sentence)}" for sentence in verdicts(results)]
    lines += ["", *table(over_all_columns(results), standings(results)), "", how(results), ""]
    lines += [*(f"- *{name}*: {meaning}" for name, meaning in COLUMNS.items()), ""]
    for name in pictures:
        lines += [f"![{CAPTIONS[name]}]({name}.png)", "", CAPTIONS[name], ""]
    for task in results.tasks:
        about = in_markdown(f"{results.steps[task]} steps. {results.sources[task]}")
        lines += [f"## {in_markdown(task)}", "", about, ""]
        lines += [*table(columns(results, task), on_task(results, task)), ""]
    return "\n".join(lines)


def table(header: Row, rows: Iterable[Row]) -> list[str]:
    """The lines of a table in Markdown."""
    cells = [header, ("---",) * len(header), *rows]
    return ["| " + " | ".join(in_markdown(cell) for cell in row) + " |" for row in cells]
