import inspect
import math
from contextlib import suppress

import pytest
from ml_collections import ConfigDict

from lopt.base.errors import UserError
from lopt.base.parts import Parts, build, config, describe, parse
from lopt.data import DATASETS, TEXTS, TOKENIZERS
from lopt.meta import ESTIMATORS, OBJECTIVES
from lopt.rules import FEATURES, RULES, STEPS
from lopt.tasks import MIXTURES, TASKS


def make(size=3, name_of_it="x", *, required=None):
    return size, name_of_it, required


def several(decays=(0.5, 1), sizes=(1,), texts=("a",), text="a", rate=0.5, anything=None):
    return decays, sizes, texts, text, rate, anything


PARTS = Parts(
    "thing", make=make, other=lambda needed: needed, flag=lambda on=False: on, several=several
)


def test_config_lists_every_argument_so_that_each_can_be_overridden():
    assert config(PARTS, "make", size=5).to_dict() == {
        "name": "make",
        "size": 5,
        "name_of_it": "x",
        "required": None,
    }


def test_a_part_is_built_from_text_and_from_mapping():
    assert build(PARTS, "make(size=4, name_of_it='a')") == (4, "a", None)
    assert build(PARTS, {"name": "make", "size": 4}) == (4, "x", None)
    assert build(PARTS, "make") == (3, "x", None)


NESTED = "make(required=(make(size=5, name_of_it='a'), other, [1, -2.5, None]))"


def test_calls_and_names_among_the_values_are_parts():
    part = parse(NESTED)
    assert part["required"] == (
        {"name": "make", "size": 5, "name_of_it": "a"},
        {"name": "other"},
        [1, -2.5, None],
    )
    texts = ("make(size=5, name_of_it='a')", "other", [1, -2.5, None])
    for given in (NESTED, part, ConfigDict(part)):
        assert build(PARTS, given) == (3, "x", texts)


def test_a_part_in_a_part_is_built_from_either_form():
    outer = Parts("outer", around=lambda inner: build(PARTS, inner))
    for text in ("around(inner='make(size=4)')", "around(inner=make(size=4))"):
        assert build(outer, text) == (4, "x", None)
    config_of_it = ConfigDict({"name": "around", "inner": config(PARTS, "make", size=4)})
    assert build(outer, config_of_it) == (4, "x", None)


@pytest.mark.parametrize(
    "part",
    [
        {"name": "make", "size": (1, 2), "name_of_it": "a, b)"},
        {"name": "make", "size": (1,), "required": ({"name": "other", "needed": ()}, "other")},
        {"name": "make", "required": {"name": "other"}},
    ],
)
def test_text_and_mapping_are_one(part):
    assert parse(describe(part)) == part


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("mkae", "mkae.* make"),
        ("make(sise=3)", "sise.* size"),
        ("other", "needed"),
        ("make(3)", "cannot read"),
        ("make(size=", "cannot read"),
        ("3", "cannot read"),
        ("make(name=3)", "cannot read"),
        ("make(**{'size': 3})", "cannot read"),
        ("make(size=(1, false))", "false"),
        ("make(required=other(3))", r"other\(3\)"),
        ("make(size=x)", "size.* integer.*x"),
        ("make(size=make())", "size.* integer.*make"),
        ("make(size=2.5)", "size.* integer.*2.5"),
        ("make(size=True)", "size.* integer.*True"),
        ("make(size=None)", "size.* integer.*None"),
        ("make(name_of_it=3)", "name_of_it.* text.*3"),
        ("several(rate='fast')", "rate.* number.*fast"),
        ("several(rate=1e999)", "rate.* number.*inf"),
        ({"name": "several", "rate": float("nan")}, "rate.* number.*nan"),
        ("several(decays=0.9)", "decays.* sequence.*0.9"),
        ("several(decays='0.9')", "decays.* sequence.*0.9"),
        ("several(decays=('a',))", "decays.* number.*a"),
        ("several(sizes=(1, 2.5))", "sizes.* integer.*2.5"),
        ("several(texts='momentum')", "texts.* sequence.*momentum"),
        ("several(texts=(1,))", "texts.* text.*1"),
        ({"size": 3}, "thing.* name.*flag"),
        ({"name": 3}, "thing.* name"),
        (5, "thing.* name.*5"),
        ("flag(on='no')", "on must be True or False.*no"),
        ("make(size=__import__('os'))", "cannot read"),
    ],
)
def test_a_mistake_is_named_with_its_mend(part, message):
    with pytest.raises(UserError, match=message):
        build(PARTS, part)


def test_values_of_the_kind_of_the_default_are_taken():
    given = "several(decays=[1, 0.5], sizes=(), texts=(make, 'b'), text=('a', 'b'), rate=1)"
    assert build(PARTS, given) == ([1, 0.5], (), ("make", "b"), ("a", "b"), 1, None)
    for anything in (None, 3, "x", (1, 2)):
        assert build(PARTS, {"name": "several", "anything": anything})[-1] == anything


@pytest.mark.parametrize("nested", ["make(size=", "(", "[", "-", "not ", "1+"])
def test_deep_nesting_is_refused_in_a_short_line(nested):
    with pytest.raises(UserError, match="cannot read") as caught:
        parse(f"make(required={50_000 * nested}1)")
    assert len(str(caught.value)) < 400


ODD = (0, -1, 2.5, math.nan, math.inf, (), (0,), (-2.0,), (2, 1), ("x",), "x", "", None, True, {})

OF_ANOTHER_KIND = {bool: "x", int: "x", float: "x", str: 2.5, tuple: 2.5}


@pytest.mark.parametrize(
    "parts",
    [
        *(RULES, FEATURES, STEPS, ESTIMATORS, OBJECTIVES),
        *(TOKENIZERS, TEXTS, DATASETS, MIXTURES, TASKS),
    ],
    ids=lambda parts: parts.kind,
)
def test_every_part_refuses_other_kinds_than_its_defaults_and_raises_nothing_else(parts):
    """A value that is not of the kind of the default is refused, and the argument named."""
    required = {"dataset": "mnist", "tasks": ("quadratic",)}
    refused = 0
    for name in parts:
        parameters = inspect.signature(parts[name]).parameters
        given = {k: required[k] for k, p in parameters.items() if p.default is p.empty}
        for argument, parameter in parameters.items():
            for value in ODD:
                refused += 1
                with suppress(UserError):
                    build(parts, {"name": name, **given, argument: value})
                    refused -= 1
            wrong = OF_ANOTHER_KIND.get(type(parameter.default))
            if wrong is not None:
                with pytest.raises(UserError, match=rf"\b{argument} must be"):
                    build(parts, {"name": name, **given, argument: wrong})
    assert refused
