"""Errors that a user can fix, and the words that help to fix them."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lopt.base.printed import printable

_LONGEST = 1000  # characters of a message: what it repeats may be the contents of a file
_REASON = 200  # characters of another error's text that a message repeats


class UserError(ValueError):
    r"""A mistake in what the user gave; its message is one line that names the mistake and the fix.

    Command lines print it to stderr and exit with status 2, without a traceback. What a message
    repeats of files and of other libraries' errors is made printable.

    >>> str(UserError("a name\n with \x1b[31m"))
    'a name with \\x1b[31m'
    """

    def __init__(self, message: str = ""):
        """See the class."""
        super().__init__(_shortened(printable(" ".join(message.split()))))


@contextmanager
def user_errors(message: str, *kinds: type[Exception], fix: str = "") -> Iterator[None]:
    """Raise a `UserError` in place of errors of some kinds, or of any; a context manager.

    It stands around code and contents of others, which may raise anything. The message is what
    failed, as in "cannot import my_project", and the fix what the user can do. A `UserError` has
    its line already, and is let through.
    """
    kinds = kinds or (Exception,)
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        raise UserError(f"{message}: {reason_of(error)}{fix and f'; {fix}'}") from error


def reason_of(error: BaseException) -> str:
    """An error's type and the beginning of its text, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())[:_REASON]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _shortened(text: str) -> str:
    """A text of which the middle is left out where it is long: the mistake and the fix remain."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def suggest(word: str, valid: Iterable[str]) -> str:
    """A sentence that lists the valid words and, where one resembles `word`, the closest.

    >>> suggest("adan", ["adam", "sgd"])
    'did you mean adam? valid: adam, sgd'
    """
    valid = sorted(valid)
    close = difflib.get_close_matches(str(word), valid, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}valid: {', '.join(valid)}"
