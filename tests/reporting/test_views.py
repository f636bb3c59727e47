import pytest

from mmjsd.reporting.canvas import house_style
from mmjsd.reporting.curves import Compared
from mmjsd.reporting.views import coherence


def metrics(*values, error=0.02):
    found = {f"coherence/cross/{size}": value for size, value in enumerate(values, 1)}
    errors = {f"coherence_error/cross/{size}": error for size in range(1, len(values) + 1)}
    return {**found, **errors, "coherence/cross/mean": 0.99}


def drawn(**of_runs):
    with house_style():
        figure, caption = coherence(Compared({}, {}, "classifier", metrics=of_runs))
        figure.draw_without_rendering()
    (ax,) = figure.axes
    lines = [bars[0].get_xydata() for bars in ax.containers]
    halves = [[(s[1, 1] - s[0, 1]) / 2 for s in bars[2][0].get_segments()] for bars in ax.containers]
    return figure, caption, lines, halves


def test_a_line_for_each_run_over_the_number_of_given_modalities():
    figure, caption, lines, halves = drawn(js=[metrics(0.5, 0.75)], moe=[metrics(0.6, 0.6)])
    assert [line[:, 1].tolist() for line in lines] == [[0.5, 0.75], [0.6, 0.6]]
    assert [line[:, 0].round().tolist() for line in lines] == [[1, 2], [1, 2]]
    assert (lines[0][:, 0] != lines[1][:, 0]).all()  # bars beside each other
    assert halves == [pytest.approx([0.02, 0.02])] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["js", "moe"]
    assert "standard error of the test samples" in figure.get_suptitle()
    assert "standard error of the test samples" in caption


def test_bars_over_seeds():
    figure, _, lines, halves = drawn(js=[metrics(0.5), metrics(0.7)], moe=[metrics(0.5), {}])
    assert [line[:, 1].tolist() for line in lines] == [[pytest.approx(0.6)], [0.5]]
    assert halves[0] == [pytest.approx(0.02 * 50**0.5)]
    assert figure.get_suptitle().endswith("bars: one standard deviation over 2 seeds")


def test_the_judges_on_real_data_are_a_line_too():
    judges = {"classifier/accuracy/a": 0.9, "classifier/accuracy/b": 1.0}
    figure, caption, _, _ = drawn(js=[metrics(0.5, 0.75) | judges])
    assert [[pytest.approx(0.95)] * 2] == [
        list(line.get_ydata()) for line in figure.axes[0].lines if line.get_linestyle() == ":"
    ]
    assert "Dotted: the mean score on the test data of the classifiers" in caption


def test_chance_is_a_line_that_is_named():
    figure, caption, _, _ = drawn(js=[metrics(0.36, 0.34) | {"meta/chance": 0.36}], old=[metrics(0.5, 0.5)])
    (ax,) = figure.axes
    assert [list(line.get_ydata()) for line in ax.lines if line.get_linestyle() == "--"] == [[0.36] * 2]
    assert [text.get_text() for text in ax.texts] == ["chance"]
    assert "Dashed: chance" in caption
    figure, caption, _, _ = drawn(old=[metrics(0.5, 0.5)])
    assert not figure.axes[0].texts
    assert "chance" not in caption


def test_of_one_modality_there_is_none():
    with house_style():
        _, caption = coherence(Compared({}, {}, "classifier", metrics={"js": [{"coherence/random": 1.0}]}))
    assert caption == "Not drawn: no modality is generated given others."
