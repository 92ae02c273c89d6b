import numpy as np
import pytest

from lopt.base.errors import UserError
from lopt.predict.arithmetic import END, all_sums, hold_out, text


@pytest.mark.parametrize("numbers", [4, 12])
def test_every_answer_is_the_sum(numbers):
    sums = all_sums(numbers)
    found = [(text(q), text(a)) for q, a in zip(*sums, strict=True)]
    assert len(set(found)) == numbers**2
    for question, answer in found:
        a, b = question.rstrip("=").split("+")
        assert int(a) + int(b) == int(answer)
    assert (sums.answers[:, -1] == END).all()


def test_no_sum_is_both_trained_on_and_unseen():
    known, unseen = hold_out(all_sums(5), 7, seed=1)
    known, unseen = ({text(q) for q in part.questions} for part in (known, unseen))
    assert len(unseen) == 7
    assert len(known) == 18
    assert not known & unseen


def test_a_split_that_leaves_too_little_is_refused():
    with pytest.raises(UserError, match=r"unseen .* 1 to 8 .* 9"):
        hold_out(all_sums(4), 9, seed=0)
    with pytest.raises(UserError, match="4 to 1,000, not 3"):
        all_sums(3)


def test_answers_depend_on_questions_only():
    first, again = all_sums(4), all_sums(4)
    np.testing.assert_array_equal(first.questions, again.questions)
