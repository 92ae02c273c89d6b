"""User-defined functions by name, `module:function`: in configs and flags, not in files."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lopt.base.errors import UserError, suggest, user_errors

TRUSTED: set[str] = set()
"""Names that this process' configs, flags and code have used."""

_IN_A_FILE = ContextVar("in_a_file", default=False)
# A variable of the context, not an argument: parts are built within parts, and one that forgot to
# hand it on would import what a file names.


def is_user_defined(name: str) -> bool:
    """Whether a name is one of a module's function, and not of a part of the package."""
    return ":" in name


def import_function(name: str) -> Callable[..., Any]:
    """Import the function or class that `"module:function"` names.

    The module is found as by `import`: in the current folder under `python -m`, in installed
    packages, in `PYTHONPATH`. Within `from_a_file` it must have been named elsewhere before.

    >>> import_function("math:hypot")(3, 4)
    5.0
    """
    if _IN_A_FILE.get() and name not in TRUSTED:
        raise UserError(
            f"{name} is named in a file, and nothing is imported for a file; if it is yours, say "
            f"so first: --trust={name}, or lopt.base.trust({name!r}) in Python"
        )
    module, _, attribute = name.partition(":")
    with user_errors(f"cannot import {module!r} of {name!r}"):
        imported = importlib.import_module(module)
    found = getattr(imported, attribute, None)
    if not callable(found):
        valid = [k for k, v in vars(imported).items() if callable(v) and not k.startswith("_")]
        raise UserError(f"{module} has no function {attribute!r}; {suggest(attribute, valid)}")
    TRUSTED.add(name)
    return found


def trust(*names: str) -> None:
    """Let the files of optimizers name these user-defined functions, as `"module:function"`.

    What a config, a flag or `lopt.base.build` named in this process is trusted already.

    Raises:
      UserError: as `import_function`.

    Example:
      >>> trust("math:hypot")
    """
    for name in names:
        import_function(name)


def trust_class(made: Any) -> None:
    """Let files name the class of something that a trusted function made."""
    TRUSTED.add(name_of_class(type(made)))


def name_of_class(kind: type) -> str:
    """The name by which `import_function` finds a class, which must be at the top of its module.

    >>> from fractions import Fraction
    >>> name_of_class(Fraction)
    'fractions:Fraction'
    """
    if "." in kind.__qualname__:
        raise UserError(
            f"{kind.__module__}:{kind.__qualname__} cannot be found by its name; define the class "
            "at the top level of its module"
        )
    return f"{kind.__module__}:{kind.__qualname__}"


@contextmanager
def from_a_file() -> Iterator[None]:
    """Import nothing, whatever text is built into parts: it may be from anybody's file."""
    token = _IN_A_FILE.set(True)
    try:
        yield
    finally:
        _IN_A_FILE.reset(token)
