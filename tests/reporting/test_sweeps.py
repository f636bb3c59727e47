import itertools
import json
import math

import matplotlib
import numpy as np
import pytest
from PIL import Image

from mmjsd.params.sweeps import name_of
from mmjsd.reporting.canvas import house_style
from mmjsd.reporting.catalogue import dataset_figures
from mmjsd.reporting.curves import Compared
from mmjsd.reporting.figures import draw_dataset
from mmjsd.reporting.sweeps import against

RATES = [1e-4, 1e-3, 1e-2]


def product(vary, skip=()):
    """The runs of a sweep: name -> values."""
    runs = {}
    for choice in itertools.product(*vary.values()):
        values = dict(zip(vary, choice, strict=True))
        runs[name_of("s", values)] = values
    return {run: values for run, values in runs.items() if run not in skip}


def metrics(values, seed=0):
    """Made of the values, so that it can be told from where a number is drawn."""
    number = values.get("beta", 1) / 10 + (values.get("objective") == "mvae") + values.get("learning_rate", 0)
    return {"coherence/random": number + (-1, 1)[seed % 2] / 100, "quality/fid/random/a": 3.0}


def drawn(runs, *keys, seeds=1, error=math.nan):
    known = {"coherence_error/random": error}
    measured = {run: [metrics(values, seed) | known for seed in range(seeds)] for run, values in runs.items()}
    compared = Compared({}, {}, "classifier", {"s": runs}, measured)
    entry = dataset_figures("classifier", {"s": runs})[f"sweep-{'-'.join(keys)}-of-s"]
    with house_style():
        found = entry.load()(compared._replace(swept=entry.swept))
        found.figure.draw_without_rendering()
    return found


def lines(figure):
    """Legend label -> points, of the panel of the random coherence."""
    (ax,) = [ax for ax in figure.axes if ax.get_title() == "random coherence"]
    return {bars.get_label(): bars[0].get_xydata().tolist() for bars in ax.containers}, ax


def test_which_figures_there_are():
    vary = {"beta": [1.0, 2.0], "objective": ["mmjsd", "mvae"], "learning_rate": RATES, "epochs": [3]}
    others = list(dataset_figures("inception"))
    assert list(dataset_figures("inception", {"s": product(vary)})) == [
        *others,
        "sweep-beta-of-s",
        "sweep-learning_rate-of-s",
        "sweep-beta-learning_rate-of-s",
    ]
    assert list(
        dataset_figures("inception", {"s": product({"objective": ["mvae"], "compile": ["on", "off"]})})
    ) == (others)


def test_a_line_for_each_combination_of_the_other_values():
    figure, caption = drawn(product({"beta": [1.0, 2.0, 5.0], "objective": ["mmjsd", "mvae"]}), "beta")
    found, ax = lines(figure)
    assert {label: [round(y, 4) for _, y in points] for label, points in found.items()} == {
        "objective=mmjsd": [0.09, 0.19, 0.49],
        "objective=mvae": [1.09, 1.19, 1.49],
    }
    assert [x for x, _ in found["objective=mmjsd"]] == [1, 2, 5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(found)
    assert (ax.get_xscale(), ax.get_xlabel()) == ("linear", "beta")
    assert caption == (
        "Headline metrics of the sweep `s` against `beta`: a line for each combination of objective; "
        "one seed, which does not show how training varies; "
        "bars: one standard error of the test samples, where it is known."
    )


def test_bars_of_one_seed_are_the_standard_error():
    figure, _ = drawn(product({"beta": [1.0, 2.0]}), "beta", error=0.03)
    (bars,) = lines(figure)[1].containers
    for low, high in (segment[:, 1] for segment in bars[2][0].get_segments()):
        assert high - low == pytest.approx(2 * 0.03)


def test_bars_are_the_deviation_over_seeds():
    figure, caption = drawn(product({"beta": [1.0, 2.0]}), "beta", seeds=2)
    _, ax = lines(figure)
    (bars,) = ax.containers
    assert not figure.legends
    assert bars[0].get_xydata()[:, 1] == pytest.approx([0.1, 0.2])
    (low, high) = bars[2][0].get_segments()[0][:, 1]
    assert high - low == pytest.approx(2 * math.sqrt(2) / 100)
    assert "means over 2 seeds; bars: one standard deviation over 2 seeds" in caption
    assert "bars: one standard deviation over 2 seeds" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (RATES, "log"),
        ([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0], "log"),
        ([1.0, 2.5, 5.0], "linear"),
        (list(range(1, 21)), "linear"),
        ([0.0, 0.1, 1.0, 10.0], "linear"),
    ],
)
def test_decades_are_drawn_on_a_logarithmic_axis(values, scale):
    figure, _ = drawn(product({"beta": values}), "beta")
    _, ax = lines(figure)
    assert ax.get_xscale() == scale
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert not any("$" in label for label in labels)
    if len(values) <= 6:
        assert labels == [f"{value:g}" for value in values]


def test_chance_is_a_line_of_those_metrics_that_have_it():
    runs = product({"beta": [1.0, 2.0]})
    known = {"coherence/conditional/mean": 0.5, "coherence/random": 0.5, "meta/chance": 0.25}
    compared = Compared({}, {}, "classifier", {"s": runs}, {run: [known] for run in runs}, ("s", "beta"))
    with house_style():
        figure, _ = against(compared)
    texts = {ax.get_title(): [text.get_text() for text in ax.texts] for ax in figure.axes}
    assert texts == {"conditional coherence, mean": ["chance"], "random coherence": []}


def test_a_table_of_colours_over_two_numbers():
    vary = {"beta": [1.0, 2.0], "learning_rate": RATES, "objective": ["mmjsd", "mvae"]}
    missing = "s-beta=2.0-learning_rate=0.01-objective=mvae"
    figure, caption = drawn(product(vary, skip=[missing]), "beta", "learning_rate")
    upper, lower = figure.axes
    assert (upper.get_title(), lower.get_title()) == ("random coherence\nobjective=mmjsd", "objective=mvae")
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("learning_rate", "beta")
    assert [label.get_text() for label in lower.get_xticklabels()] == ["0.0001", "0.001", "0.01"]
    cells = lower.images[0].get_array()
    assert cells.filled(math.nan) == pytest.approx(
        np.array([[1.0901, 1.091, 1.1], [1.1901, 1.191, math.nan]]), nan_ok=True
    )
    assert [text.get_text() for text in lower.texts] == ["1.09", "1.09", "1.10", "1.19", "1.19"]
    assert "a row for each combination of objective" in caption


def test_many_values_and_combinations():
    vary = {"beta": [n / 2 for n in range(1, 31)], "learning_rate": RATES, "epochs": list(range(15))}
    figure, caption = drawn(product(vary), "beta", "learning_rate")
    assert len(figure.axes) == 8
    assert "the first 8 of 15 combinations of epochs" in caption
    assert len(figure.axes[0].get_yticks()) == 10
    assert not figure.axes[0].texts
    figure, caption = drawn(product(vary), "beta")
    assert not figure.legends
    found, _ = lines(figure)
    assert len(found) == 45
    assert caption.endswith("The 45 lines are too many to be named.")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [12, 40, 41])
def test_many_runs_of_long_names_leave_room_for_the_curves(number):
    names = [f"digits-beta={n / 10}-learning_rate=0.001-objective=mmjsd" for n in range(number)]
    histories = {name: [[{"epoch": e, "loss": 1.0} for e in (1, 2)]] for name in names}
    curves = {name: [{("random", "mnist"): ([0.0, 1.0], [1.0, 0.0])}] for name in names}
    compared = Compared(curves, histories, "classifier", {"s": {}})
    for entry in dataset_figures("classifier").values():
        with house_style():
            figure, caption = entry.load()(compared)
            figure.draw_without_rendering()
        shapes = [ax.get_window_extent() for ax in figure.axes]
        assert min(min(shape.width, shape.height) for shape in shapes) > 50
        assert ("too many" in caption) == (not figure.legends) == (number > 40)
        for legend in figure.legends:
            assert len(legend.get_texts()) == number
            assert legend.get_window_extent().y1 < min(shape.y0 for shape in shapes)
        assert len({line.get_color() for line in figure.axes[0].lines}) == number


def test_runs_without_headline_metrics(tmp_path):
    runs = product({"beta": [1.0, 2.0], "epochs": [1, 2]})
    compared = Compared({}, {}, "classifier", {"s": runs}, {run: [{}] for run in runs})
    for name, entry in dataset_figures("classifier", {"s": runs}).items():
        if entry.swept:
            _, caption = entry.load()(compared._replace(swept=entry.swept))
            assert caption == "Not drawn: no run of the sweep s has a headline metric.", name


def test_they_are_among_the_figures_of_a_dataset(tmp_path):
    runs, folders = product({"beta": [1.0, 2.0]}), {}
    for run, values in runs.items():
        folders[run] = [tmp_path / run]
        folders[run][0].mkdir()
        (tmp_path / run / "metrics.json").write_text(json.dumps(metrics(values)))
        (tmp_path / run / "history.csv").write_text("epoch,loss,samples_per_second,seconds\n1,3.5,9,9\n")
        (tmp_path / run / "prd.csv").write_text("given,modality,precision,recall\n")
    draw_dataset(tmp_path / "figures", folders, "classifier", "standin", {"s": runs})
    names = ["prd-classifier.png", "training.png", "sweep-beta-of-s.png"]
    captions = json.loads((tmp_path / "figures/captions.json").read_text())
    assert list(captions) == names
    with Image.open(tmp_path / "figures" / names[-1]) as image:
        assert min(image.size) > 200
    first = {name: (tmp_path / "figures" / name).read_bytes() for name in names}
    matplotlib.rcParams["font.size"] = 20  # whatever a user has
    draw_dataset(tmp_path / "figures", folders, "classifier", "standin", {"s": runs})
    assert {name: (tmp_path / "figures" / name).read_bytes() for name in names} == first
    matplotlib.rcdefaults()
    draw_dataset(tmp_path / "without", folders, "classifier", "standin")
    assert list(json.loads((tmp_path / "without/captions.json").read_text())) == names[:2]
