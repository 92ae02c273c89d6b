"""Parts of a run by name: what config files and command lines are made of."""

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any, NoReturn

from ml_collections import ConfigDict

from lopt.base.checks import integer, is_sequence, number, shown
from lopt.base.errors import UserError, suggest
from lopt.base.user_defined import import_function, is_user_defined, name_of_class, trust_class

_SHOWN = 200
"""Characters of an unreadable text that its error message repeats."""

_LARGEST = 10**8
"""The largest number in a text that is not trusted."""

_LONGEST = 64
"""The longest sequence in such a text, and the largest number of what is traced once each."""

_TRACED = ("depth", "iterations")

_WIDE = ("widths", "width", "channels", "hidden")
"""Numbers of channels: theta has a coefficient at least for each pair of two that follow."""

_DEEPEST = 16
"""How deep parts and sequences nest in such a text."""

_OWN = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|"""
    r"(?<![\w.:])[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?![\w.:])"
)
"""A quoted text, or `module:function` outside of one."""

_AS_LETTERS = str.maketrans(".:", "\ua4f8\ua4fd")
"""Two letters of Lisu: with them `module:function` is an identifier to Python's parser."""

_AS_MARKS = str.maketrans("\ua4f8\ua4fd", ".:")


class Parts(dict[str, Any]):
    """The parts of one kind by name; a name that is not there is a `UserError`.

    A mapping is filled where it is defined, with two exceptions that an import fills: the families
    of tasks add themselves to `TASKS` (`lopt/tasks/families`), and the rules of `infer_spec` are
    registered when `lopt/symmetry/infer.py` imports their modules. Both are imported by the package
    around them, so that a mapping is complete for whoever can name it.

    `config` and `build` also take `module:function`, a function of the user's own that makes such
    a part.

    >>> ESTIMATORS = Parts("estimator", es=dict)
    >>> ESTIMATORS["as"]
    Traceback (most recent call last):
        ...
    lopt.base.errors.UserError: unknown estimator 'as'; did you mean es? valid: es
    """

    def __init__(self, kind: str, makes: type = object, /, **parts: Any):
        """See the class.

        Args:
          kind: what they are, in words.
          makes: the type of what a part's function makes, for those of the user's own.
          **parts: the functions by name.
        """
        super().__init__(parts)
        self.kind, self.makes = kind, makes

    def __getitem__(self, name: Any) -> Any:
        if not isinstance(name, str):
            raise UserError(f"the {self.kind} must be a name, not {shown(name)}")
        return super().__getitem__(name)

    def __missing__(self, name: str) -> NoReturn:
        raise UserError(f"unknown {self.kind} {name!r}; {suggest(name, self)}")

    def function(self, name: str) -> Callable[..., Any]:
        """The function of a part, imported if it is the user's own.

        Raises:
          UserError: for an unknown name; as `lopt.base.user_defined.import_function`.
        """
        return import_function(name) if is_user_defined(name) else self[name]


def config(parts: Parts, name: str, **arguments: Any) -> ConfigDict:
    """The config of a part: its name and all its arguments, so that each can be overridden.

    Args:
      parts: those of one kind.
      name: which of them, or `module:function`.
      **arguments: those that differ from their defaults.

    Raises:
      UserError: for an unknown name or argument.

    Example:
      >>> from lopt.meta import ESTIMATORS
      >>> config(ESTIMATORS, "es", pairs=4).to_dict()["pairs"]
      4
    """
    parameters = _parameters(parts.function(name), name, arguments)
    defaults = {k: p.default for k, p in parameters.items() if p.default is not p.empty}
    return ConfigDict({"name": name, **defaults, **arguments})


def read_config(parts: Parts, text: str) -> ConfigDict:
    """The config of the part that a text names, as `config` makes one.

    Raises:
      UserError: if the text cannot be read, for an unknown name or argument.

    Example:
      >>> from lopt.meta import ESTIMATORS
      >>> read_config(ESTIMATORS, "pes(pairs=4)").pairs
      4
    """
    given = parse(text)
    name = given.pop("name")
    return config(parts, name, **{k: _as_text(v) for k, v in given.items()})


def with_name(parts: Parts, part: Mapping[str, Any] | ConfigDict, name: str) -> ConfigDict:
    """The config of another part, with those arguments of a part that both have.

    Raises:
      UserError: for an unknown name.

    Example:
      >>> from lopt.meta import ESTIMATORS
      >>> es = with_name(ESTIMATORS, config(ESTIMATORS, "pes", pairs=4, truncation=20), "es")
      >>> es.pairs, "truncation" in es
      (4, False)
    """
    shared = _parameters(parts.function(name), name, {})
    return config(parts, name, **{k: v for k, v in part.items() if k in shared and k != "name"})


def build(parts: Parts, part: str | Mapping[str, Any]) -> Any:
    """Make a part from its config, or from a text such as `"momentum(decays=(0.9, 0.99))"`.

    A part among its arguments, such as the data of a task, is handed on as its text, so that what
    is built holds plain values only.

    Raises:
      UserError: for something else, a text that cannot be read, an unknown name or argument, or a
        missing one, the valid ones listed; for a value of another kind than the default: words
        or NaN where a number belongs, a number where a sequence does; for a function of the user's
        own that makes something else than such a part.
    """
    if not isinstance(part, str | Mapping | ConfigDict):
        raise UserError(
            f"the {parts.kind} must be a name, or name(argument=value), not {shown(part)}"
        )
    arguments = parse(part) if isinstance(part, str) else dict(part)
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"the {parts.kind} has no name; {suggest('', parts)}")
    make = parts.function(name)
    parameters = _parameters(make, name, arguments)
    missing = [k for k, p in parameters.items() if p.default is p.empty and k not in arguments]
    if missing:
        raise UserError(f"{name} needs the argument {missing[0]!r}")
    arguments = {k: _as_text(v) for k, v in arguments.items()}
    for k, value in arguments.items():
        if parameters[k].default is not inspect.Parameter.empty:
            _require_kind(name, k, parameters[k].default, value)
    made = make(**arguments)
    if is_user_defined(name):
        if not isinstance(made, parts.makes):
            wanted = f"{parts.makes.__module__}.{parts.makes.__qualname__}"
            raise UserError(f"{name} makes a {type(made).__name__}, not a {wanted}")
        trust_class(made)
    return made


def user_function(text: str) -> Callable[..., Any]:
    """The function that `"module:function"` names, or `"module:function(argument=value)"`.

    What arguments the text gives are no longer among those of the function's signature.

    Raises:
      UserError: if the text cannot be read, or the function has no such argument; as
        `lopt.base.user_defined.import_function`.

    Example:
      >>> user_function("math:prod(start=2)")([3, 4])
      24
    """
    arguments = parse(text)
    name = arguments.pop("name")
    make = import_function(name)
    if not arguments:
        return make
    parameters = _parameters(make, name, arguments)
    made: Any = partial(make, **{k: _as_text(v) for k, v in arguments.items()})
    rest = [p for k, p in parameters.items() if k not in arguments]
    made.__signature__ = inspect.Signature(rest)
    return made


def name_in(parts: Parts, made: Any) -> str:
    """The name of what is a part's class: among the parts, or `module:class` of the user's own.

    Raises:
      UserError: as `lopt.base.user_defined.name_of_class`.
    """
    ours = (name for name, kind in parts.items() if kind is type(made))
    return next(ours, None) or name_of_class(type(made))


def parse(text: str) -> dict[str, Any]:
    """Read `name` or `name(argument=value, ...)` as the mapping that `build` takes.

    A value is a literal, or again a name or a call. A name is an identifier, or `module:function`;
    nothing is imported here.

    >>> parse("rnn(data=text(size=200_000), widths=(32,))")
    {'name': 'rnn', 'data': {'name': 'text', 'size': 200000}, 'widths': (32,)}
    >>> parse("my_project.tasks:spiral(turns=3)")
    {'name': 'my_project.tasks:spiral', 'turns': 3}

    Raises:
      UserError: if the text is neither.
    """
    try:
        node = ast.parse(_OWN.sub(_as_identifier, text.strip()), mode="eval").body
        if isinstance(node, ast.Name | ast.Call):
            return _value(node)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
    raise _unreadable(text)


def describe(part: str | Mapping[str, Any]) -> str:
    """The text of a part's config; `parse` reads it.

    >>> describe({"name": "rnn", "data": {"name": "text", "size": 5000}, "cell": "gru"})
    "rnn(data=text(size=5000), cell='gru')"
    """
    if isinstance(part, str):
        return part
    arguments = ", ".join(f"{k}={_written(v)}" for k, v in part.items() if k != "name")
    return f"{part['name']}({arguments})" if arguments else part["name"]


def require_modest(part: str | Mapping[str, Any], coefficients: int | None = None) -> None:
    """Refuse a part that would take long to make, or to trace: for text that is not trusted.

    Args:
      part: the text or config.
      coefficients: how many a theta has that is said to be of this part.

    Raises:
      UserError: for a number above 10^8, a sequence or a depth above 64, parts and sequences more
        than 16 deep within each other, or more channels than the coefficients can be of.

    Example:
      >>> require_modest("transformer(depth=1000)")
      Traceback (most recent call last):
          ...
      lopt.base.errors.UserError: what a file names may have depth up to 64
    """
    _require_modest("parts", part, 0)
    if coefficients is not None and isinstance(part, str | Mapping | ConfigDict):
        _require_as_wide(parse(part) if isinstance(part, str) else part, coefficients)


def _require_modest(name: str, value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise UserError(f"what a file names may nest its parts {_DEEPEST} deep")
    if isinstance(value, str):
        with suppress(UserError):
            value = parse(value)
    if isinstance(value, Mapping | ConfigDict):
        for key, inner in value.items():
            word = inner if key == "name" and isinstance(inner, str) else str(key)
            if not _OWN.sub("own", word).isidentifier():  # as text it would be more than a word
                raise UserError(f"what a file names has words for names, not {word[:_SHOWN]!r}")
            if key != "name":
                _require_modest(str(key), inner, depth + 1)
    elif isinstance(value, list | tuple):
        if len(value) > _LONGEST:
            raise UserError(f"what a file names may have up to {_LONGEST} {name}")
        for inner in value:
            _require_modest(name, inner, depth + 1)
    elif isinstance(value, int | float):
        most = _LONGEST if name in _TRACED else _LARGEST
        if not abs(value) <= most:
            raise UserError(f"what a file names may have {name} up to {most:,}")


def _require_as_wide(part: Mapping[str, Any], coefficients: int) -> None:
    """Refuse widths whose theta would be larger, unless the part is of the user's own."""
    if is_user_defined(str(part.get("name"))):
        return
    for name in (name for name in _WIDE if name in part):
        widths = part[name] if isinstance(part[name], list | tuple) else [part[name]]
        widths = [n for n in widths if isinstance(n, int)]
        again = widths[:1] if part.get("depth", 1) != 1 else []
        if any(a * b > coefficients for a, b in pairwise([1, *widths, *again])):
            raise UserError(
                f"a theta of {coefficients:,} coefficients has no {name} {str(part[name])[:_SHOWN]}"
            )


def _as_identifier(found: re.Match[str]) -> str:
    return found[0] if found[0][0] in "'\"" else found[0].translate(_AS_LETTERS)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name not in ("true", "false", "none", "null"):
            return {"name": name.translate(_AS_MARKS)}
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords) if all(
            k.arg not in (None, "name") for k in keywords
        ):
            return {
                "name": name.translate(_AS_MARKS),
                **{k.arg.translate(_AS_MARKS): _value(k.value) for k in keywords},
            }
        case ast.Tuple(elts=elements):
            return tuple(map(_value, elements))
        case ast.List(elts=elements):
            return list(map(_value, elements))
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise _unreadable(ast.unparse(node).translate(_AS_MARKS)) from None


def _unreadable(text: str) -> UserError:
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return UserError(f"cannot read {text!r}; write name or name(argument=value, ...)")


def _written(value: Any) -> str:
    if _is_part(value):
        return describe(value)
    if isinstance(value, list | tuple):
        comma = "," if len(value) == 1 else ""
        return f"({', '.join(map(_written, value))}{comma})"
    return repr(value)


def _as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [*map(_as_text, value)] if isinstance(value, list) else (*map(_as_text, value),)
    return describe(value) if _is_part(value) else value


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping | ConfigDict) and "name" in value


def _parameters(
    make: Callable[..., Any], name: str, arguments: Mapping[str, Any]
) -> Mapping[str, inspect.Parameter]:
    """The parameters of a part's function, checked to include all arguments."""
    try:
        found = inspect.signature(make).parameters
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} does not say which arguments it has; give another") from error
    several = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    parameters = {k: p for k, p in found.items() if p.kind not in several}
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found.values())
    for argument in arguments:
        if argument not in parameters and takes_any:
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters[argument] = inspect.Parameter(argument, keyword, default=None)
        if argument not in parameters:
            raise UserError(f"{name} has no argument {argument!r}; {suggest(argument, parameters)}")
    return parameters


def _require_kind(part: str, what: str, default: Any, value: Any) -> None:
    """Refuse a value of another kind than the default; a default of None allows any."""
    match default:
        case bool():
            valid, fits = "True or False", isinstance(value, bool)
        case int():
            valid, fits = integer().words, integer().holds(value)
        case float():
            valid, fits = number().words, number().holds(value)
        case str():
            texts = value if isinstance(value, list | tuple) else [value]
            valid, fits = f"text such as {default!r}", all(isinstance(t, str) for t in texts)
        case list() | tuple():
            valid, fits = f"a sequence such as {default!r}", is_sequence(value)
        case _:
            return
    if not fits:
        raise UserError(f"{part}: {what} must be {valid}, not {shown(value)}")
    if isinstance(default, list | tuple) and default:
        widest = next((d for d in default if isinstance(d, float)), default[0])
        for element in value:
            _require_kind(part, f"each of {what}", widest, element)
