"""Text that others wrote, such as names and errors, made fit for a terminal or a page."""

from collections.abc import Sequence


def printable(text: str) -> str:
    r"""A text with what a terminal would obey, or cannot show, written as Python escapes it.

    >>> print(printable("an \x1b[31malarm\a, and a line\n"))
    an \x1b[31malarm\x07, and a line\n
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def in_markdown(text: str) -> str:
    r"""A printable text that neither ends a table's cell nor begins an element of HTML.

    >>> print(in_markdown("a|b<c>"))
    a\|b\<c>
    """
    return printable(text).replace("|", "\\|").replace("<", "\\<")


def some(words: Sequence[str], most: int, between: str = ", ") -> str:
    """The first of some words, and how many there are besides.

    >>> some(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    more = len(words) - most
    return between.join(words[:most]) + (f" and {more} more" if more > 0 else "")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
