"""Parts of a run by name: what config files and command lines are made of."""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn

from ml_collections import ConfigDict

from lopt.base.checks import MAPPING, Made, like, shown
from lopt.base.errors import UserError, suggest, user_errors
from lopt.base.user_defined import import_function, is_user_defined, name_of_class, trust_class

Part = str | Mapping[str, Any]
"""A part as text, `"name(argument=value)"`, or as a config, `{"name": ..., "argument": ...}`."""

_NAME = re.compile(r"([^\W\d][\w.]*:)?[^\W\d]\w*")  # a name of the package's, or `module:function`

_QUOTED_OR_USER_DEFINED = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\W\d][\w.]*:[^\W\d]\w*"""
)


class Parts(dict[str, Any]):
    """The parts of one kind by name; a name that is not there is a `UserError`.

    A mapping is filled where it is defined.

    `config` and `build` also take `module:function`, a user-defined function that makes such a
    part.

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
          makes: the type of what a part's function makes, for user-defined ones.
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
        """The function of a part, imported if it is user-defined.

        Raises:
          UserError: for an unknown name; as `lopt.base.user_defined.import_function`.
        """
        return import_function(name) if is_user_defined(name) else self[name]

    def name_of(self, made: Any) -> str:
        """The name of a part's class: one of these, or `module:class` of a user-defined one.

        Raises:
          UserError: as `lopt.base.user_defined.name_of_class`.
        """
        ours = (name for name, kind in self.items() if kind is type(made))
        return next(ours, None) or name_of_class(type(made))


def config(parts: Parts, text: str, old: Part | None = None, /, **arguments: Any) -> ConfigDict:
    """The config of a part: its name and all its arguments, so that each can be overridden.

    Args:
      parts: those of one kind.
      text: which of them, or `module:function`; with arguments or without.
      old: another part, whose arguments are taken over where this one has them too.
      **arguments: those that differ from their defaults.

    Raises:
      UserError: if the text cannot be read, for an unknown name or argument.

    Example:
      >>> from lopt.meta import ESTIMATORS
      >>> pes = config(ESTIMATORS, "pes(pairs=4)", truncation=20)
      >>> pes.pairs, pes.truncation
      (4, 20)
      >>> es = config(ESTIMATORS, "es", pes)
      >>> es.pairs, "truncation" in es
      (4, False)
    """
    name, given = _read(text)
    given |= arguments
    make = parts.function(name)
    if old is not None:
        known = _parameters(make, name, ())
        given = {k: v for k, v in _read(old)[1].items() if k in known} | given
    parameters = _parameters(make, name, given)
    defaults = {k: p.default for k, p in parameters.items() if p.default is not p.empty}
    return ConfigDict({"name": name, **defaults, **given})


def build(parts: Parts, part: Part) -> Any:
    """Make a part from its config, or from a text such as `"momentum(decays=(0.9, 0.99))"`.

    A part among its arguments, such as the data of a task, is handed on as its text, so that what
    is built holds plain values only.

    Raises:
      UserError: for something else, a text that cannot be read, an unknown name or argument, or a
        missing one, the valid ones listed; for a value of another kind than the default: words
        or NaN where a number belongs, a number where a sequence does; for a user-defined function
        that makes something else than such a part.
    """
    if not isinstance(part, str | Mapping | ConfigDict):
        raise UserError(
            f"the {parts.kind} must be a name, or name(argument=value), not {shown(part)}"
        )
    name, arguments = _read(part)
    if not isinstance(name, str):
        raise UserError(f"the {parts.kind} has no name; {suggest('', parts)}")
    make = parts.function(name)
    for k, parameter in _parameters(make, name, arguments).items():
        if k in arguments:
            if parameter.default is not parameter.empty:
                like(parameter.default)(f"{name}: {k}", arguments[k])
        elif parameter.default is parameter.empty:
            raise UserError(f"{name} needs the argument {k!r}")
    made = make(**arguments)
    if is_user_defined(name):
        if not isinstance(made, parts.makes):
            wanted = f"{parts.makes.__module__}.{parts.makes.__qualname__}"
            raise UserError(f"{name} makes a {type(made).__name__}, not a {wanted}")
        trust_class(made)  # the file of an optimizer names the class of its rule
    return made


def made_of(make: Callable[..., Made], name: str, block: Any) -> Made:
    """A dataclass made from a block of a config, whose keys are its fields."""
    block = MAPPING(name, block)
    _parameters(make, name, block)
    return make(**block)


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
    name, arguments = _read(text)
    make = import_function(name)
    if not arguments:
        return make
    parameters = _parameters(make, name, arguments)
    made: Any = partial(make, **arguments)
    rest = [p for k, p in parameters.items() if k not in arguments]
    made.__signature__ = inspect.Signature(rest)
    return made


def parse(text: str) -> dict[str, Any]:
    """Read `name` or `name(argument=value, ...)` as the mapping that `build` takes.

    A value is a literal, or again a name or a call. A name is an identifier, or `module:function`;
    nothing is imported here.

    >>> parse("rnn(data=text(size=200_000), widths=(32,))")
    {'name': 'rnn', 'data': {'name': 'text', 'size': 200000}, 'widths': (32,)}
    """
    # Python's parser reads the text: for it, `module:function` is quoted, and a quoted text may be
    # called. As a value, the text "module:function" is as good as the part.
    quoted = _QUOTED_OR_USER_DEFINED.sub(
        lambda found: found[0] if found[0][0] in "'\"" else repr(found[0]), text.strip()
    )
    try:
        part = _value(ast.parse(quoted, mode="eval").body)
    except UserError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _unreadable(text) from None
    part = {"name": part} if isinstance(part, str) else part
    if not _is_part(part) or not _is_name(part["name"]):
        raise _unreadable(text)
    return part


def describe(part: Part) -> str:
    """The text of a part's config; `parse` reads it.

    Raises:
      UserError: for a name that is no word.

    >>> describe({"name": "rnn", "data": {"name": "text", "size": 5000}, "cell": "gru"})
    "rnn(data=text(size=5000), cell='gru')"
    """
    if isinstance(part, str):
        return part
    for word in (part["name"], *part):
        # Anything else would be read as more than a word: as arguments, or as another part.
        if not _is_name(word):
            raise UserError(f"parts and arguments have words for names, not {shown(word)}")
    arguments = ", ".join(f"{k}={_written(v)}" for k, v in part.items() if k != "name")
    return f"{part['name']}({arguments})" if arguments else part["name"]


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name not in ("true", "false", "none", "null"):
            return {"name": name}
        case ast.Call(ast.Name(id=name) | ast.Constant(value=name), [], keywords) if _is_name(
            name
        ) and all(k.arg not in (None, "name") for k in keywords):
            return {"name": name, **{str(k.arg): _value(k.value) for k in keywords}}
        case ast.Tuple(elts=elements):
            return tuple(map(_value, elements))
        case ast.List(elts=elements):
            return list(map(_value, elements))
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise _unreadable(ast.unparse(node)) from None


def _unreadable(text: str) -> UserError:
    return UserError(f"cannot read {shown(text)}; write name or name(argument=value, ...)")


def _read(part: Part) -> tuple[Any, dict[str, Any]]:
    """The name of a part and its arguments, in which parts are texts."""
    given = parse(part) if isinstance(part, str) else part
    return given.get("name"), {k: _as_text(v) for k, v in given.items() if k != "name"}


def _as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [*map(_as_text, value)] if isinstance(value, list) else (*map(_as_text, value),)
    return describe(value) if _is_part(value) else value


def _written(value: Any) -> str:
    if _is_part(value):
        return describe(value)
    if isinstance(value, list | tuple):
        comma = "," if len(value) == 1 else ""
        return f"({', '.join(map(_written, value))}{comma})"
    return repr(value)


def _is_name(word: Any) -> bool:
    return isinstance(word, str) and _NAME.fullmatch(word) is not None


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping | ConfigDict) and "name" in value


def _parameters(
    make: Callable[..., Any], name: str, arguments: Iterable[str]
) -> dict[str, inspect.Parameter]:
    """The parameters of a part's function, checked to include all arguments."""
    with user_errors(f"{name} does not say which arguments it has", fix="give another"):
        found = inspect.signature(make).parameters.values()
    several = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    parameters = {p.name: p for p in found if p.kind not in several}
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found)
    for argument in arguments:
        if argument not in parameters and not takes_any:
            raise UserError(f"{name} has no argument {argument!r}; {suggest(argument, parameters)}")
    # Nothing tells which kind of value belongs to one of **kwargs: a default of None allows any.
    keyword = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY, default=None)
    return parameters | {k: keyword(k) for k in arguments if k not in parameters}
