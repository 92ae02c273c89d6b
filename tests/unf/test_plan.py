"""The plan of the exact layer, counted."""

import itertools

import pytest
from weight_spaces import SPACES, cnn

from lopt.symmetry import Axes, PermutationSpec
from lopt.unf import plan_for


@pytest.mark.parametrize(
    ("space", "coefficients"),
    [("mlp", 167_238), ("cnn", 366_344), ("rnn", 352_807), ("transformer", 6_228_997)],
)
def test_known_numbers_of_coefficients(space, coefficients):
    plan = plan_for(SPACES[space]())
    layers = itertools.pairwise((19, 32, 32, 32, 1))
    assert sum(plan.coefficients(*pair) for pair in layers) == coefficients


@pytest.mark.parametrize(("space", "matmuls"), [("mlp", 8), ("cnn", 46), ("transformer", 14)])
def test_one_matmul_for_each_signature(space, matmuls):
    plan = plan_for(SPACES[space]())
    assert len(plan.matmuls) == matmuls
    assert len({frozenset(m.groups) for m in plan.matmuls}) == matmuls


def test_reductions_are_made_from_the_smallest_parent():
    plan = plan_for(cnn())
    for r in plan.reductions:
        if r.parent is not None:
            shrink = plan.reductions[r.parent].size // r.size
            lost = {plan.reductions[r.parent].groups[i] for i in r.axes}
            candidates = {plan.bundles[r.bundle].groups[i] for block in r.averaged for i in block}
            sizes = cnn().sizes
            assert lost <= candidates
            assert shrink == min(sizes[g] for g in candidates)


def test_tensors_of_the_same_groups_are_bundled():
    axes = {"q": Axes("r", "h"), "k": Axes("r", "h"), "o": Axes("h", "r"), "b": Axes("r")}
    plan = plan_for(PermutationSpec(axes, {"r": 2, "h": 3}))
    bundles = {b.names: b.transposes for b in plan.bundles}
    assert bundles == {("b",): ((0,),), ("k", "o", "q"): ((0, 1), (1, 0), (0, 1))}


def test_plan_prints_its_reductions_and_matmuls():
    plan = plan_for(PermutationSpec({"w": Axes("n", "n"), "b": Axes("n")}, {"n": 4}))
    text = str(plan)
    assert text.startswith("27 basis terms between 2 tensors: 2 bundles, 8 reductions, 3 matmuls")
    assert "(n) = diagonal of 2 over 0, 1" in text
    assert "(n, n)  16×1c by 1c×2c: 2 -> 2 2" in text
