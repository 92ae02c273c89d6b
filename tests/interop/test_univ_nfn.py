"""The paper's code itself, where a checkout of learned_optimization is on the path."""

import authors
import numpy as np
import pytest

pytest.importorskip("learned_optimization.research.univ_nfn.learned_opt.learned_opts")


@pytest.mark.parametrize(("space", "network"), authors.CASES)
def test_the_authors_code_gives_the_steps_that_are_stored(space, network):
    """With which tests/rules/test_univ_nfn.py compares ours."""
    found = authors.flat(space, network, authors.their_steps(space, network))
    with np.load(authors.FILE) as stored:
        for name, params in found.items():
            np.testing.assert_allclose(params, stored[name], rtol=1e-5, atol=1e-5, err_msg=name)
