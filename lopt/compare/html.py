"""The report as one page of HTML that needs no other file."""

import io
import re
from collections.abc import Mapping
from html import escape as escaped

import matplotlib as mpl
from matplotlib.figure import Figure

from lopt.base.printed import printable
from lopt.compare.figures import figures
from lopt.compare.looks import looks
from lopt.compare.results import Results
from lopt.compare.sentences import CAPTIONS, how, title, verdicts
from lopt.compare.tables import MEANINGS, Table, on_task, over_all

_STYLE = """
.lopt { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 84rem;
  margin: 0 auto; padding: 1rem 1.5rem 3rem; }
.lopt h1 { font-size: 1.5rem; margin: .5rem 0 1rem; }
.lopt h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
.lopt figure { margin: 1.2rem 0; overflow-x: auto; }
.lopt figure svg { max-width: 100%; height: auto; }
.lopt figcaption, .lopt .how { color: #555; font-size: .9rem; max-width: 60rem; }
.lopt .scroll { overflow-x: auto; }
.lopt table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
.lopt th, .lopt td { padding: .25rem .6rem .25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #e5e5e5; }
.lopt th { border-bottom: 1px solid #888; font-weight: 600; }
.lopt th:first-child, .lopt td:first-child { text-align: left; }
.lopt td:last-child { text-align: left; }
.lopt i.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin-right: .5em; vertical-align: -0.05em; }
.lopt li { margin: .2rem 0; }
.lopt dt { font-weight: 600; float: left; clear: left; margin-right: .5em; }
.lopt dd { margin: 0; }
@media (max-width: 62rem) {
  .lopt { padding: 1rem .8rem 2rem; }
  .lopt h2 { overflow-wrap: anywhere; }
  .lopt figure svg { min-width: 34rem; }
  .lopt table, .lopt tbody, .lopt tr, .lopt td { display: block; }
  .lopt thead { display: none; }
  .lopt tr { border-bottom: 1px solid #888; padding: .4rem 0; }
  .lopt td, .lopt td:last-child { border: 0; padding: .1rem 0; text-align: right;
    white-space: normal; overflow-wrap: anywhere; }
  .lopt td:first-child { font-weight: 600; text-align: left; }
  .lopt td[data-column]::before { content: attr(data-column); float: left; color: #555;
    padding-right: 1em; }
  .lopt td:empty { display: none; }
}
"""


def page(results: Results, pictures: Mapping[str, Figure]) -> str:
    """A whole page: verdicts, the table over all tasks, the pictures, a table of each task."""
    heading = escape(title(results))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n</head>\n<body>\n"
        f"{_body(results, pictures, f'<h1>{heading}</h1>')}\n</body>\n</html>\n"
    )


def body(results: Results) -> str:
    """The page without its heading, for notebooks."""
    return _body(results, figures(results), "")


def _body(results: Results, pictures: Mapping[str, Figure], heading: str) -> str:
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in verdicts(results))
    meanings = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(meaning)}</dd>" for name, meaning in MEANINGS.items()
    )
    parts = [
        f"<style>{_STYLE}</style>",
        '<div class="lopt">',
        heading,
        f"<ul>{said}</ul>" if said else "",
        _table(over_all(results), results),
        f'<p class="how">{escape(how(results))}</p>',
        f'<dl class="how">{meanings}</dl>',
    ]
    for name, figure in pictures.items():
        caption = escape(CAPTIONS[name])
        parts.append(
            f'<figure role="img" aria-label="{caption}">{svg(figure, name)}'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    for task, steps in results.steps.items():
        where = escape(f"{steps} steps. {results.sources[task]}")
        parts += [f"<h2>{escape(task)}</h2>", f'<p class="how">{where}</p>']
        parts.append(_table(on_task(results, task), results))
    return "\n".join(filter(None, [*parts, "</div>"]))


def escape(text: str) -> str:
    """A text as HTML, whatever characters it has."""
    return escaped(printable(text))


def svg(figure: Figure, name: str) -> str:
    """A figure as SVG to stand within a page: the same figure gives the same text."""
    written = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    text = text[text.index("<svg") :]
    # Ids are the page's, not the picture's: two pictures must not share one.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)


def _table(table: Table, results: Results) -> str:
    look_of = looks(results.optimizers, results.reference)
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    lines = []
    for name, *cells in table.rows:
        others = "".join(
            f'<td data-column="{escape(column)}">{escape(cell)}</td>'
            for column, cell in zip(table.header[1:], cells, strict=True)
        )
        key = f'<i class="key" style="background:{look_of[name].color}"></i>'
        lines.append(f"<tr><td>{key}{escape(name)}</td>{others}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
