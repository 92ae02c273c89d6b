"""Every public name is on the site exactly once; the build warns, and so fails, if one is not."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cached_property
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import lopt


def public_modules() -> Iterator[ModuleType]:
    """The packages that have an `__all__`."""
    found = pkgutil.walk_packages(lopt.__path__, "lopt.")
    for name in ("lopt", *(m.name for m in found if m.ispkg)):
        module = importlib.import_module(name)
        if hasattr(module, "__all__"):
            yield module


def places(name: str, value: Any, documented: list[str]) -> list[str]:
    """Under which full names the site documents a value that is called `name`.

    One that is exported by two packages counts wherever it is documented.
    """
    return [
        full for full in documented if full.rpartition(".")[2] == name and _value(full) is value
    ]


def _value(full: str) -> Any:
    """The value of a module's name; None for what is within a class."""
    module, _, name = full.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError:
        return None


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each public name that is not documented exactly once."""
    objects = env.domains.python_domain.objects
    documented = [name for name, entry in objects.items() if not entry.aliased]
    log = logging.getLogger(__name__)
    for module in public_modules():
        for name in module.__all__:
            found = places(name, getattr(module, name), documented)
            if len(found) != 1:
                where = " and ".join(found) or "nowhere"
                log.warning(
                    f"{module.__name__}.{name} is documented {where}; it belongs on one page of "
                    "docs/reference, once"
                )


def skip(app: Sphinx, what: str, name: str, member: Any, skipped: bool, options: Any) -> bool:
    """Leave out the fields of classes, which the docstring of their class describes."""
    shown = inspect.isroutine(member) or isinstance(member, property | cached_property)
    return skipped or (what == "class" and not shown)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the check to the end of reading."""
    app.connect("env-check-consistency", check)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
