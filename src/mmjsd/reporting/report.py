"""The report: one HTML file with all tables and figures in it, to read and to pass on."""

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from PIL import Image

from mmjsd.errors import MmjsdError
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.flat import flat
from mmjsd.provenance.environment import describe
from mmjsd.provenance.files import atomic_write, read_json
from mmjsd.provenance.records import read_record
from mmjsd.reporting.catalogue import CAPTIONS, is_shown_at_once
from mmjsd.reporting.tables import read_published, sections

__all__ = ["write_report"]


def write_report(
    rows: Sequence[Mapping[str, Any]],
    datasets: Mapping[str, Mapping[str, Any]],
    runs: Mapping[str, Mapping[str, Any]],
    evaluation: Mapping[str, Any],
    published: Path,
    template: Path,
    out: Path,
) -> None:
    """Write the report of all runs.

    Args:
        rows: as of :func:`mmjsd.reporting.tables.compare`, with `folder`, that of the run and seed, where the
            record of its evaluation is.
        datasets: key -> its parameters, and `figures`, the folder of the figures that compare its runs.
        runs: key -> its parameters.
        evaluation: the parameters of the evaluation.
        published: values from papers.
        template: of the page, for Jinja.
        out: the HTML file.

    Raises:
        MmjsdError: a file is missing or damaged.
    """
    metrics = [read_metrics(Path(row["metrics"])) for row in rows]
    shown = []
    for section in sections(rows, metrics, read_published(published)):
        key, about = section.dataset, datasets[section.dataset]
        of_dataset = [pair for pair in zip(rows, metrics, strict=True) if pair[0]["dataset"] == key]
        shown.append(
            {
                "name": key,
                "section": section,
                "standin": about["source"] == "standin",
                "figures": list(_figures(Path(about["figures"]))),
                "facts": [
                    *flat({k: v for k, v in about.items() if k != "figures"}),
                    ("sha256 of the store", of_dataset[0][1]["meta/data_sha256"]),
                ],
                "runs": [_run(row, runs[row["run"]], evaluation, measured) for row, measured in of_dataset],
            }
        )
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["inline"] = _inline
    page = environment.from_string(template.read_text("utf-8"))
    atomic_write(
        out, page.render(datasets=shown, version=version("mmjsd"), environment=list(describe().items()))
    )


def _run(
    row: Mapping[str, Any], run: Mapping[str, Any], evaluation: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    figures = list(_figures(Path(row["folder"]) / "figures"))
    figures.sort(key=lambda figure: not is_shown_at_once(figure["name"]))
    record = read_record(Path(row["folder"]) / "evaluation.record.json")
    hashes = {**record["inputs"], **record["outputs"]}
    seconds, judged = metrics["meta/train_seconds"], metrics["meta/evaluation_seconds/total"]
    return {
        "title": f"{row['run']}, seed {row['seed']}",
        "anchor": f"{row['run']}-{row['seed']}",
        "about": f"{run['objective']}, shared latent {run['shared_latent']}"
        + (f", private latents {run['private_latent']}" if run["private_latent"] else "")
        + f"; {run['epochs']} epochs in {seconds:.0f} s on {metrics['meta/device']}, "
        f"{metrics['meta/train_samples_per_second']:.0f} samples/s; evaluated in {judged:.0f} s.",
        "figures": figures,
        "shown": sum(is_shown_at_once(figure["name"]) for figure in figures),
        "facts": [
            *flat(run),
            *flat(evaluation, "evaluation."),
            *((k, v) for k, v in metrics.items() if k.startswith("meta/")),
            *record["made"].items(),
            *((f"sha256 of {file}", digest) for file, digest in hashes.items()),
        ],
    }


def _figures(folder: Path) -> Iterator[dict[str, Any]]:
    for name, caption in read_json(folder / CAPTIONS, "figures").items():
        if Path(name).name != name or not isinstance(caption, str):
            raise MmjsdError(f"{folder / CAPTIONS}: damaged; make it again with `mmjsd figures`")
        try:
            with Image.open(folder / name) as image:
                buffer = io.BytesIO()
                # a quarter of the PNG's size, and looks the same; the default method takes thrice as long
                image.convert("RGB").save(buffer, "webp", quality=82, method=2)
                width, height = image.size
        except PermissionError as error:
            raise MmjsdError(
                f"{folder / name}: cannot be read ({error.strerror}); check its permissions"
            ) from None
        except Exception:  # Pillow raises whatever the damaged bytes lead it to
            raise MmjsdError(
                f"{folder / name}: missing or damaged; draw it again with `mmjsd figures`"
            ) from None
        yield {
            "name": Path(name).stem,
            "caption": caption,
            "width": width // 2,
            "height": height // 2,
            "narrow": width < 1.6 * height,
            "data": "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(),
        }


def _inline(text: str) -> Markup:
    """**bold** and `code` of a cell or sentence as HTML."""
    marked = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", marked))
