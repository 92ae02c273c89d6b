"""Checks of arguments, and the line that says what a wrong one must be."""

import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from ml_collections import ConfigDict

from lopt.base.errors import UserError, suggest

Made = TypeVar("Made")

_LARGEST = 2**31  # JAX takes no Python integer from here on, but any float
_SHOWN = 100  # characters of a wrong value that its message repeats


@dataclass(frozen=True)
class Check:
    """A check of a value; called with a name for the message and the value.

    Attributes:
      words: what a value must be, as in "a positive integer".
      read: returns a value as it is used, given its name and the value; raises TypeError,
        ValueError or OverflowError for a wrong one, or a `UserError` with words of its own.
    """

    words: str
    read: Callable[[str, Any], Any]

    def __call__(self, name: str, value: Any) -> Any:
        """The value as it is used: a number of NumPy's or JAX's as one of Python's."""
        try:
            return self.read(name, value)
        except UserError:  # a ValueError as well, which has said what is wrong
            raise
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{name} must be {self.words}, not {shown(value)}") from None

    def holds(self, value: Any) -> bool:
        """Whether a value is right."""
        try:
            self("", value)
        except UserError:
            return False
        return True


def integer(least: int | None = None, most: int | None = None) -> Check:
    """An integer within bounds; NumPy's and JAX's count, True and 3.0 do not.

    >>> integer(0, 5)("size", 3), integer(0, 5).words
    (3, 'an integer from 0 to 5')
    """

    def read(name: str, value: Any) -> int:
        if isinstance(value, bool):
            raise TypeError
        found = operator.index(value)
        if least is not None and found < least:
            raise ValueError
        if most is not None and found > most:
            if least == 1:  # the words do not say how large it may be
                raise UserError(f"{name} must be at most {most:,}, not {shown(value)}")
            raise ValueError
        return found

    if least == 1:
        words = "a positive integer"
    elif most is not None:
        words = f"an integer from {least} to {most:,}"
    else:
        words = "an integer" if least is None else f"an integer of at least {least}"
    return Check(words, read)


def number(
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    infinite: bool = False,
) -> Check:
    """A real number within bounds, finite unless said otherwise; NumPy's and JAX's count.

    >>> number(above=0)("rate", 1e-3), number(0, below=1).words
    (0.001, 'a finite number of at least 0 and below 1')
    """
    bounds: list[tuple[str, Callable[[float, float], bool], float | None]] = [
        ("of at least", operator.ge, least),
        ("above", operator.gt, above),
        ("at most", operator.le, most),
        ("below", operator.lt, below),
    ]
    given = [(words, holds, bound) for words, holds, bound in bounds if bound is not None]
    kind = f"{'positive ' if above == 0 else ''}{'' if infinite else 'finite '}number"
    said = [f"{words} {bound:g}" for words, _, bound in given if (words, bound) != ("above", 0)]

    def read(name: str, value: Any) -> float:
        # A text, or an array of one element, is no number, though float() reads them.
        if isinstance(value, str | bytes | bool | np.bool_) or np.ndim(value):
            raise TypeError
        plain = type(value) in (int, float) and abs(value) < _LARGEST
        found = value if plain else float(value)
        within = all(holds(found, bound) for _, holds, bound in given)
        if not within or math.isnan(found) or (math.isinf(found) and not infinite):
            raise ValueError
        return found

    return Check(f"a {kind} {' and '.join(said)}".strip(), read)


def sequence(each: Check, least: int = 0) -> Check:
    """A sequence of so many elements or more, all of them right; it comes back as a tuple."""

    def read(name: str, value: Any) -> tuple[Any, ...]:
        if not is_sequence(value):
            right = each.holds(value)
            such = f"such as ({shown(value)},)" if right else f"each {each.words}"
            raise UserError(f"{name} must be a sequence, {such}, not {shown(value)}")
        if len(value) < least:
            raise UserError(f"{name} is empty; give one or more")
        part, colon, field = name.rpartition(": ")
        return tuple(each(f"{part}{colon}each of {field}", element) for element in value)

    return Check("a sequence", read)


def named(kind: str, valid: Iterable[str]) -> Check:
    """One of some names.

    >>> named("rate", ["low", "high"])("rate", "hihg")
    Traceback (most recent call last):
        ...
    lopt.base.errors.UserError: unknown rate 'hihg'; did you mean high? valid: high, low
    """
    valid = tuple(valid)

    def read(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError
        if value not in valid:
            raise UserError(f"unknown {kind} {value!r}; {suggest(value, valid)}")
        return value

    return Check(f"the name of a {kind}", read)


def instance(kind: Any, words: str) -> Check:
    """A value of a type or a union of types, which the words name."""

    def read(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return Check(words, read)


def like(default: Any) -> Check:
    """A value of the kind of a default; anything for a default of None.

    >>> like((0.9, 1))("decays", (0.5, "a"))
    Traceback (most recent call last):
        ...
    lopt.base.errors.UserError: each of decays must be a finite number, not 'a'
    """
    match default:
        case bool():
            return FLAG
        case int():
            return integer()
        case float():
            return number()
        case str():
            text = instance(str, f"text such as {default!r}")
            several = sequence(text)
            return Check(
                text.words,
                lambda name, x: (several if isinstance(x, list | tuple) else text)(name, x),
            )
        case list() | tuple():
            floats = (x for x in default if isinstance(x, float))
            return sequence(like(next(floats, default[0] if default else None)))
        case _:
            return instance(object, "anything")


def optional(check: Check) -> Check:
    """Accept None, and all that another check accepts."""
    return Check(check.words, lambda name, value: None if value is None else check(name, value))


def _file_name(name: str, value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", value):
        raise ValueError
    return value


def checked(part: str | None = None, /, **checks: Check) -> Callable[[type[Made]], type[Made]]:
    """A decorator beneath `@dataclass`: fields are checked, and set to what the checks return.

    Messages name the part, by default the class. `__post_init__` comes after, if there is one.
    """

    def decorate(kind: type[Made]) -> type[Made]:
        further = getattr(kind, "__post_init__", None)

        def check(self: Any) -> None:
            name = type(self).__name__ if part is None else part
            for field, right in checks.items():
                full = f"{name}: {field}" if name else field
                object.__setattr__(self, field, right(full, getattr(self, field)))
            if further:
                further(self)

        kind.__post_init__ = check  # type: ignore[attr-defined]
        return kind

    return decorate


def require_widths(part: str, widths: Any) -> None:
    """Raise a `UserError` if the widths of layers are not a sequence of positive integers."""
    sequence(SIZE)(f"{part}: widths", widths)


def require_positive(part: str, **sizes: Any) -> None:
    """Raise a `UserError` if a size is not a positive integer."""
    for name, size in sizes.items():
        SIZE(f"{part}: {name}", size)


def is_sequence(value: Any) -> bool:
    """Whether a value has elements in order: a list, a tuple, an array of one axis; no text."""
    if isinstance(value, str | bytes):
        return False
    return isinstance(value, Sequence) or len(getattr(value, "shape", ())) == 1


def shown(value: Any) -> str:
    """A wrong value as a message repeats it: an array by its shape, a long text cut."""
    shape = getattr(value, "shape", ())
    if isinstance(shape, tuple) and shape:
        return f"an array of shape {shape}"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # of an integer of thousands of digits, or of the value's own class
        return f"this {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


FLAG = instance(bool, "True or False")

TEXT = instance(str, "text")

MAPPING = instance(Mapping | ConfigDict, "a mapping")

PATH = instance(str | os.PathLike, "a path")

FUNCTION = instance(Callable, "a function")

FILE_NAME = Check("letters, digits and any of _.-", _file_name)
"""Names of what is saved in a file of that name."""

SIZE = integer(1, 2**31 - 1)
"""Counts and widths; NumPy and JAX index axes with 32 bits."""

SEED = integer(0, 2**32 - 1)
"""JAX takes seeds modulo 2**32: others would give the run of one of these."""

POSITIVE = number(above=0)
"""Learning rates, and scales."""

FRACTION = number(above=0, below=1)
"""Portions that leave some, such as of the data for a test."""

DECAY = number(0, below=1)
"""Decays of exponential averages."""

DECAYS = sequence(DECAY, 1)
