"""What is to be said of a model that is shared, and the model card that says it."""

from pathlib import Path
from typing import Any

from mmjsd import __version__, registry
from mmjsd.errors import MmjsdError
from mmjsd.evaluation.metrics_file import read_metrics
from mmjsd.evaluation.presentation import headline, with_summaries
from mmjsd.flat import flat
from mmjsd.params.sources import described, origin
from mmjsd.provenance.environment import numbers_page
from mmjsd.provenance.files import sha256_file
from mmjsd.provenance.records import read_record
from mmjsd.training.model_file import NAME, vector_scale

__all__ = ["card", "describe_model"]

_TEMPLATE = Path(__file__).with_name("card.md.j2")

_OF_STANDIN = "that of mmjsd (MIT)"
_UNKNOWN = "not known to mmjsd; ask those who have the data"


def describe_model(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Describe a trained model by what its file, its records and its metrics say.

    Args:
        folder: results/<dataset>/<run>/seed-<n>.
        about: what the file of the model says.

    Returns:
        `version` of mmjsd, `model` (about), `sha256` of its file, `data` (`kind`, `source`, `licence`),
        `metrics` (title of a headline -> value; none if it is not evaluated), the `split` they are of, and
        `made`, the commit, libraries and machine of the training.

    Raises:
        MmjsdError: a record or the metrics are damaged, or of another model.
    """
    digest = sha256_file(folder / NAME)
    training = _record(folder / "training.record.json", "outputs", digest, "train")
    evaluation = _record(folder / "evaluation.record.json", "inputs", digest, "evaluate")
    metrics = read_metrics(folder / "metrics.json") if evaluation else {}
    known = with_summaries(metrics)
    kind, source = about["dataset"]["kind"], about["dataset"]["options"].get("source", "folder")
    is_standin = origin(source) == "standin"
    caveat = ", which mmjsd draws itself: no number here is a result on the real data" if is_standin else ""
    licence = registry.constant_of("datasets", kind, "LICENCE", _UNKNOWN)
    return {
        "version": __version__,
        "model": about,
        "sha256": digest,
        "data": {
            "kind": kind,
            "source": f"{described(source)}{caveat}",
            "licence": _OF_STANDIN if is_standin else licence,
        },
        "metrics": {title: known[key] for title, key in headline().items() if key in known},
        "split": metrics.get("meta/split"),
        "made": training["made"] if training else {},
    }


def _record(path: Path, part: str, digest: str, step: str) -> dict[str, Any] | None:
    """The record of a step, if there is one and it is of this model."""
    if not path.is_file():
        return None
    record = read_record(path)
    if digest not in record[part].values():
        raise MmjsdError(f"{path}: is of another model than {NAME} beside it; make it again, `mmjsd {step}`")
    return record


def card(config: dict[str, Any], format: str) -> str:
    """Write the model card, as Markdown: use, data, metrics, parameters and origin of a described model."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    model = config["model"]
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    # parameters without a value say nothing
    run = {key: value for key, value in flat(model["run"]) if value not in (None, {}, [])}
    scales = {
        name: vector_scale(model["dataset"], name, *said) for name, said in model.get("scales", {}).items()
    }
    vectors = {name: scale for name, scale in scales.items() if scale.columns}
    words = any("=" in column for scale in vectors.values() for column in scale.columns)
    chosen = {"format": format, "run": run, "vectors": vectors, "words": words, "numbers": numbers_page()}
    return template.render(config, **chosen) + "\n"
