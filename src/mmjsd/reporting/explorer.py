"""The chart of the report in which readers choose two metrics: what Vega-Lite is to draw, and Vega-Lite."""

import base64
import gzip
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from mmjsd.evaluation.presentation import headline, presentations, with_summaries
from mmjsd.reporting.verdicts import over_seeds

__all__ = ["Explorer", "explore", "library"]

#: Runs whose names have room beside their points, and that have a colour each.
_NAMED = 10


class Explorer(NamedTuple):
    """A chart of the runs of a dataset."""

    choices: Mapping[str, Mapping[str, str]]
    """Group -> metric -> what it is called."""
    x: str
    """The metric that it begins with."""
    y: str
    specification: Mapping[str, Any]
    """In Vega-Lite; `x`, `y` and `search` follow the elements with these ids, behind a prefix."""


def explore(
    measured: Mapping[str, Sequence[Mapping[str, Any]]], anchors: Mapping[str, str], prefix: str
) -> Explorer | None:
    """Specify a scatter of runs, with bars of their spread, by any two metrics.

    Args:
        measured: run -> the metrics of each seed.
        anchors: run -> id of the element that a click leads to.
        prefix: of the ids of the elements that control it.

    Returns:
        Nothing where there is no metric of any run.
    """
    summaries = {run: [with_summaries(metrics) for metrics in seeds] for run, seeds in measured.items()}
    keys = dict.fromkeys(key for seeds in summaries.values() for metrics in seeds for key in metrics)
    choices = {"Headline": {key: title for title, key in headline().items() if key in keys}}
    for metric in presentations():
        own = {key: key for key in keys if key.startswith(f"{metric.name}/")}
        choices[metric.title] = {key: key for key in own if key not in choices["Headline"]}
    choices["Cost"] = {key: "training time in seconds" for key in ("meta/train_seconds",) if key in keys}
    choices = {title: metrics for title, metrics in choices.items() if metrics}
    offered = {key: name for metrics in choices.values() for key, name in metrics.items()}
    if not offered:
        return None
    x, y, *_ = [*offered, *offered]
    rows = [
        {
            "run": run,
            "anchor": f"#{anchors[run]}",
            # mean and spread, and no more digits than count
            "of": {key: found for key in offered if (found := _point(seeds, key))},
        }
        for run, seeds in summaries.items()
    ]
    return Explorer(choices, x, y, _specification(rows, offered, x, y, prefix))


def _point(seeds: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    measured = over_seeds(seeds, key)
    if not measured.values:
        return []
    found = [measured.mean, measured.spread]
    return [float(f"{value:.5g}") for value in found if math.isfinite(value)]


@cache
def library() -> str:
    """Give the JavaScript of Vega, Vega-Lite and Vega-Embed, which vl-convert carries: gzip, in base64."""
    import vl_convert  # large

    code: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub requires what it does not
    return base64.b64encode(gzip.compress(code.encode(), mtime=0)).decode()


def _specification(
    rows: list[dict[str, Any]], names: Mapping[str, str], x: str, y: str, prefix: str
) -> dict[str, Any]:
    def encoded(field: str) -> dict[str, Any]:
        axis = {"title": {"expr": f"names[{field[0]}]"}, "tickCount": 8, "labelFlush": False}
        scale = {"zero": False, "padding": 12}
        return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}

    def calculated(name: str) -> list[dict[str, str]]:
        mean, spread = (f"datum.of[{name}][{place}]" for place in (0, 1))
        parts = {"mean": mean, "low": f"{mean} - ({spread} || 0)", "high": f"{mean} + ({spread} || 0)"}
        written = f"({spread} == null ? '' : ' ± ' + format({spread}, '.2~g'))"
        parts["text"] = f"names[{name}] + ' ' + format({mean}, '.4~g') + {written}"
        return [{"calculate": text, "as": f"{name}_{part}"} for part, text in parts.items()]

    few = len(rows) <= _NAMED
    scheme = {
        "field": "run",
        "type": "nominal",
        "sort": None,
        "legend": None,
        "scale": {"scheme": "tableau10"},
    }
    colour = {"color": scheme if few else {"value": "#3b82c4"}}
    x_mean, y_mean, anchor = encoded("x_mean"), encoded("y_mean"), {"field": "anchor"}
    tooltip = [{"field": "run"}, *({"field": f"{name}_text", "title": name} for name in ("x", "y"))]
    bar = {"type": "rule", "aria": False}
    layers: list[dict[str, Any]] = [
        {"mark": bar, "encoding": {"x": encoded("x_low"), "x2": {"field": "x_high"}, "y": y_mean, **colour}},
        {"mark": bar, "encoding": {"x": x_mean, "y": encoded("y_low"), "y2": {"field": "y_high"}, **colour}},
        {
            "mark": {"type": "circle", "size": 90, "opacity": 1, "cursor": "pointer"},
            "encoding": {"x": x_mean, "y": y_mean, **colour, "href": anchor, "tooltip": tooltip},
        },
    ]
    layers[-1]["encoding"]["description"] = {"field": "run"}
    if few:
        # towards the middle, where there is room on a phone, too
        is_right = "scale('x', datum.x_mean) > width / 2"
        text = {"type": "text", "dy": -8, "limit": 220, "aria": False}
        text |= {"align": {"expr": f"{is_right} ? 'right' : 'left'"}, "dx": {"expr": f"{is_right} ? -8 : 8"}}
        named = {"x": x_mean, "y": y_mean, "text": {"field": "run"}, "color": {"value": "currentColor"}}
        layers.append({"mark": text, "encoding": named})
    # as the text of the page, light or dark
    colours = ("labelColor", "titleColor", "domainColor", "gridColor", "tickColor")
    axes = {**dict.fromkeys(colours, "currentColor"), "gridOpacity": 0.13, "titleFontSize": 13}
    controlled = {"x": x, "y": y, "search": ""}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": 380,
        "background": None,
        "data": {"values": rows},
        "params": [
            {"name": "names", "value": dict(names)},
            *(
                {"name": name, "value": value, "bind": {"element": f"#{prefix}{name}"}}
                for name, value in controlled.items()
            ),
        ],
        "transform": [
            {"filter": "datum.of[x] != null && datum.of[y] != null"},
            {"filter": "indexof(lower(datum.run), lower(search)) >= 0"},
            *calculated("x"),
            *calculated("y"),
        ],
        "layer": layers,
        "config": {"font": "system-ui, sans-serif", "view": {"stroke": None}, "axis": axes},
    }
