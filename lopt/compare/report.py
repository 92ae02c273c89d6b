"""The results as files: results.json, report.md with its pictures, report.html."""

import json
from collections.abc import Iterable
from pathlib import Path

from lopt.atomic import replacing, write_atomically
from lopt.compare.figures import figures
from lopt.compare.html import page
from lopt.compare.results import Comparison
from lopt.compare.tables import STANDINGS, Row, columns, on_task, standings, verdicts
from lopt.compare.wording import CAPTIONS, how, title
from lopt.printed import in_markdown


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
    contents = json.dumps(results.to_dict(), indent=1, allow_nan=False)
    write_atomically(folder / "results.json", contents + "\n")


def markdown(results: Comparison, pictures: Iterable[str]) -> str:
    """The report as a page of Markdown, its pictures as `NAME.png` beside it."""
    lines = [f"# {in_markdown(title(results))}", ""]
    lines += [f"- {in_markdown(sentence)}" for sentence in verdicts(results)]
    lines += ["", *table(STANDINGS, standings(results)), "", how(results), ""]
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
