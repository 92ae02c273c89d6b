import jax.numpy as jnp
import numpy as np
import pytest

from lopt.base.checks import FILE_NAME, PATH, SEED, SIZE, integer, named, number, sequence, shown
from lopt.base.errors import UserError

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("given", [3, np.int64(3), np.uint8(3), jnp.int32(3), np.array(3)])
def test_integers_of_other_libraries_become_pythons(given):
    found = SIZE("steps", given)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("given", [2, 0.25, np.float32(0.25), jnp.bfloat16(0.25), np.int64(2)])
def test_numbers_of_other_libraries_become_pythons(given):
    found = number(0)("rate", given)
    assert found == float(given)
    assert type(found) in (int, float)


def test_a_large_integer_becomes_a_float():
    assert type(number()("rate", 2**70)) is float
    assert type(number()("rate", 3)) is int


NO_INTEGERS = [2.5, 3.0, NAN, "3", None, True, np.True_, (3,), [], np.ones(1, int), 1j, b"3"]


@pytest.mark.parametrize("given", [*NO_INTEGERS, 0, -1])
def test_what_is_no_positive_integer_is_refused(given):
    with pytest.raises(UserError, match=r"^steps must be a positive integer"):
        SIZE("steps", given)


@pytest.mark.parametrize("given", [*NO_INTEGERS, -1, 2**32, 2**70, 10**400])
def test_what_is_no_seed_is_refused(given):
    with pytest.raises(UserError, match=r"seed must be .* 4,294,967,295"):
        SEED("seed", given)


def test_a_size_that_no_array_has_is_said_to_be_too_large():
    with pytest.raises(UserError, match="batch_size must be at most 2,147,483,647"):
        SIZE("batch_size", 10**12)


@pytest.mark.parametrize(
    "given", [NAN, INF, -INF, 10**400, "0.1", None, True, (0.1,), np.ones(2), 1j, jnp.nan]
)
def test_what_is_no_finite_number_is_refused(given):
    with pytest.raises(UserError, match=r"^rate must be a finite number"):
        number()("rate", given)


@pytest.mark.parametrize(
    ("check", "right", "wrong", "words"),
    [
        (number(above=0), 1e-30, 0, "a positive finite number"),
        (number(above=0, infinite=True), INF, NAN, "a positive number"),
        (number(0, 1), 1, 1.1, "a finite number of at least 0 and at most 1"),
        (number(0, below=1), 0, 1, "a finite number of at least 0 and below 1"),
        (number(above=0, below=1), 0.5, 1, "a positive finite number below 1"),
        (number(above=0, most=1), 1, 0, "a positive finite number at most 1"),
        (number(1), 1, 0.9, "a finite number of at least 1"),
        (number(above=2), 3, 2, "a finite number above 2"),
        (integer(0), 0, -1, "an integer of at least 0"),
        (integer(8, 4096), 4096, 4097, "an integer from 8 to 4,096"),
        (integer(), -5, 0.5, "an integer"),
        (PATH, "x", 3, "a path"),
        (FILE_NAME, "v1.0", "../x", "letters, digits and any of _.-"),
    ],
)
def test_bounds_are_kept_and_said(check, right, wrong, words):
    assert check("it", right) == right
    with pytest.raises(UserError) as caught:
        check("it", wrong)
    assert str(caught.value) == f"it must be {words}, not {wrong!r}"


@pytest.mark.parametrize("given", [(3, 4), [3, 4], range(3, 5), np.array([3, 4])])
def test_sequences_come_back_as_tuples(given):
    assert sequence(SIZE)("widths", given) == (3, 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, r"widths.* sequence.*\(3,\)"),
        ("ab", "widths.* sequence.*'ab'"),
        (None, "widths.* sequence.*None"),
        ({3: 4}, "mlp: widths.* sequence"),
        (np.ones((2, 2)), r"widths.* sequence.*shape \(2, 2\)"),
        ((3, 2.5), "mlp: each of widths.* integer.*2.5"),
        ((), "mlp: widths is empty"),
    ],
)
def test_what_is_no_sequence_of_them_is_refused(given, words):
    with pytest.raises(UserError, match=words):
        sequence(SIZE, 1)("mlp: widths", given)


@pytest.mark.parametrize("given", [3, None, ["low"], {}])
def test_what_is_no_name_is_refused(given):
    with pytest.raises(UserError, match="rate must be the name"):
        named("rate", ["low"])("rate", given)


def test_a_wrong_value_is_repeated_in_few_characters():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    for value in ("x" * 10**5, 10**5000, list(range(10**5)), np.ones((3, 4)), Odd(), "a\nb"):
        assert len(shown(value)) < 150
        assert "\n" not in shown(value)


def test_messages_are_one_printable_line_of_some_length():
    error = UserError(f"a name\n of  \x1b[31m{'x' * 10**6}; the fix")
    assert "\n" not in str(error)
    assert str(error).isprintable()
    assert str(error).startswith(r"a name of \x1b[31mx")
    assert str(error).endswith("; the fix")
    assert len(str(error)) < 1100
