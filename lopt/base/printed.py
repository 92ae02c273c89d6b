"""Text that others wrote, such as names and errors, made fit for a terminal or a page."""


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


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
