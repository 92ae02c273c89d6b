import numpy as np
import pytest

from lopt.meta_train.figure import meta_loss_figure


def test_the_picture_shows_the_meta_loss_its_mean_and_the_validations():
    history = {step: 2.0 / step for step in range(1, 101)}
    validations = {30: 0.9, 100: 0.5}
    (axes,) = meta_loss_figure(history, validations).axes
    each, mean, points = axes.lines
    assert dict(zip(*each.get_data(), strict=True)) == history
    steps, means = mean.get_data()
    assert list(steps) == list(range(4, 101))
    np.testing.assert_allclose(means[0], np.mean([2.0, 1.0, 2 / 3, 0.5]))
    assert dict(zip(*points.get_data(), strict=True)) == validations
    assert (points.get_marker(), points.get_linestyle()) == ("o", "None")
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["one meta-step", "mean of 4", "validation, held-out task"]
    assert len(meta_loss_figure(history).axes[0].lines) == 2


@pytest.mark.parametrize(("lowest", "scale"), [(0.5, "log"), (-0.5, "linear")])
def test_the_axis_of_the_picture_has_room_for_negative_losses(lowest, scale):
    (axes,) = meta_loss_figure({1: 1.0, 2: 0.75}, {2: lowest}).axes
    axes.figure.canvas.draw()
    low, high = axes.get_ylim()
    assert (axes.get_yscale(), low < lowest, high > 1) == (scale, True, True)
