"""Whatever a parameter file says, it is refused line by line, or every run of it can be made.

Never an exception of another kind, never a run that starts and dies of its parameters later.
"""

import copy
import itertools
import math
import re
from pathlib import Path
from typing import Any, Literal, get_origin

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmjsd import params, pipeline, registry
from mmjsd.data.batches import Batch
from mmjsd.errors import MmjsdError
from mmjsd.modalities import Modality
from mmjsd.params import Dataset, ParameterError, Params, Run
from mmjsd.params.model import all_options, dataset_model, evaluation_model, run_model, training_model
from mmjsd.training.model_file import build

ROOT = Path(__file__).parents[2]
SWEEPS = """
datasets: {digits: {kind: mnist_svhn_text}, faces: {kind: celeba}}
training: {batch_size: 64}
sweeps:
  digits:
    dataset: digits
    private_latent: 2
    vary: {objective: [mmjsd, mvae], beta: [1.0, 2.5]}
    exclude: [{objective: mvae, beta: 1}]
  both: {objective: mmvae, style_weights: {text: 1}, private_latent: 1, vary: {dataset: [digits, faces]}}
"""
INTACT = [(ROOT / name).read_text() for name in ("params.yaml", "configs/paper-celeba.yaml")] + [SWEEPS]

NUMBERS = [0, 1, -1, 2, 1e-3, 0.5, 1e4, 1e5, 10**6, 10**9, 2**31, 2**63, 2**64, 10**60, 1e308, 5e-324, 1e-300]
NAMES = [
    *(
        "../up",
        "/abs",
        "a/b",
        "..",
        ".",
        "",
        "-x",
        " ",
        "é",
        "a\nb",
        "a\0b",
        "\x1b[31m",
        "x" * 101,
        "x" * 5000,
    ),
    *(
        "classifiers",
        "figures",
        "comparison.csv",
        "report.html",
        "a.record.json",
        "CON",
        "seed-1",
        "data",
        "1",
    ),
]
KEYS = sorted(
    {
        *("digits", "text", "mnist", "image", "prior", "epoch", "sound", "<<", "vary", "exclude"),
        *params.Params.model_fields,
        *params.Dataset.model_fields,
        *params.Run.model_fields,
        *params.Evaluation.model_fields,
        *(option for group in ("datasets", "objectives", "metrics") for option in all_options(group)),
    }
)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(NUMBERS)
    | st.sampled_from(NAMES)
    | st.sampled_from(KEYS)
    | st.sampled_from(["download", "cuda:007", "cuda:٣"])
    | st.sampled_from([name for group in registry.BUILT_IN for name in registry.entries(group)])
    | st.text(max_size=8)
    | st.builds(nested, st.integers(1, 60)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=4,
)

#: Put somewhere into the text of a file.
SNIPPETS = [
    *(
        "\t",
        "[",
        "]",
        "{",
        "}",
        ": ",
        "- ",
        "? ",
        "| ",
        "> ",
        "'",
        '"',
        "# ",
        "%",
        "@",
        "`",
        "\0",
        "\ufeff",
        "\u2028",
    ),
    *(
        "&a ",
        "*a ",
        "*nowhere ",
        "&a [*a]",
        "<<: {epochs: 1}\n",
        "? [a]\n: b\n",
        "---\n",
        "...\n",
        "%YAML 9.9\n",
    ),
    *(
        "!!python/object:os.system x",
        "!!binary aGk=",
        "!!binary é",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!null 1",
    ),
    *("!!timestamp 2024-99-99", "!!timestamp 2024-01-01", "!!float x", "!!int 0x" + "f" * 5000, "!!str {}"),
    *(
        '"\\ud800"',
        '"\\x85"',
        '"\\e[2J"',
        ".inf",
        ".nan",
        "1e999",
        "0o17",
        "1_000",
        "12:30:45",
        "~",
        "=",
        "yes",
    ),
]


def places(node: Any, path: tuple = ()) -> Any:
    """Where something stands in nested mappings and lists."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def with_other_content(content: Any, draw: Any) -> str:
    """The file with some of its values, keys and sections replaced, renamed, added or left out."""
    for _ in range(draw(st.integers(1, 4))):
        *parents, key = draw(st.sampled_from(list(places(content)) or [("runs",)]))
        node = content
        for parent in parents:
            node = node[parent]
        match draw(st.sampled_from(["delete", "replace", "insert", "rename", "empty"])):
            case "delete" if node:
                del node[key]
            case "replace" if node:
                node[key] = draw(values)
            case "insert" if isinstance(node, dict):
                node[draw(st.sampled_from(KEYS) | st.text(max_size=4))] = draw(values)
            case "rename" if isinstance(node, dict) and key in node:
                node[draw(st.sampled_from(NAMES) | st.sampled_from([f"{key}s", f"{key}"[1:]]))] = node.pop(
                    key
                )
            case "empty" if isinstance(node, dict) and key in node:
                node[key] = draw(st.sampled_from([[], {}, "", None]))
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)


def with_other_text(text: str, draw: Any) -> str:
    """The file with lines twice, pieces left out, and snippets of YAML in the wrong place."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["snippet", "snippet at a value", "cut", "line twice"])):
            case "snippet":
                text = text[:at] + draw(st.sampled_from(SNIPPETS)) + text[at:]
            case "snippet at a value":
                at = text.find(": ", at) + 2
                text = text[:at] + draw(st.sampled_from(SNIPPETS)) + text[at:]
            case "cut":
                text = text[:at] + text[at + draw(st.integers(1, 40)) :]
            case _:
                start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at) + 1
                text = text[:end] + text[start:end] + text[end:]
    return text


@st.composite
def mutated_files(draw: Any) -> bytes:
    text = draw(st.sampled_from(INTACT))
    if draw(st.integers(0, 2)):
        text = with_other_content(copy.deepcopy(yaml.safe_load(text)), draw)
    else:
        text = with_other_text(text, draw)
    content = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=20)) + content[at:]
    return content


def refused_or_resolved(path: Path) -> Params | None:
    """The parameters, whose products are listed; None if the file is refused as it should be."""
    try:
        found = params.load(path)
    except ParameterError as refusal:
        told = str(refusal)
        lines = told.splitlines()
        assert lines
        assert len(set(lines)) == len(lines)
        assert all(line.startswith(f"{path}: ") and len(line) > len(f"{path}: ") for line in lines), lines
        assert told.encode()  # can be printed
        assert len(told) < 20_000
        return None
    folders = [dataset.source for dataset in found.datasets.values()]
    try:
        products = [step.product for step in pipeline.steps(found)]
    except MmjsdError as refusal:  # of a source that is a folder of something else
        told = str(refusal)
        assert told.startswith(tuple(f"{Path(source)}: no " for source in folders))
        return None
    # nothing lies where something else needs a folder, or another file
    files = [file for product in products for file in (*product.outputs, product.record, product.benchmark)]
    parents = {parent for file in files for parent in file.parents}
    assert len(set(files)) == len(files)
    assert not parents & set(files)
    assert all(len(part) < 250 and part != ".." for file in files for part in file.parts)
    return found


def modalities_of(dataset: Dataset) -> list[Modality]:
    """Those of a dataset, in the form that its store has them."""
    found = []
    for name, form in dataset.described.MODALITIES.items():
        kind, _, shape = form.partition(" ")
        sides = tuple(map(int, shape.split("x")))
        found.append(Modality(name, kind, sides, math.prod(sides)))
    return found


def assert_makes_a_step(run: Run, dataset: Dataset) -> None:
    """With sizes that take no time, and all other parameters as they are."""
    small = {
        "network_width": min(run.network_width, 0.02),
        "shared_latent": min(run.shared_latent, 8),
        "private_latent": min(run.private_latent, 8),
    }
    run = run.model_copy(update=small)
    torch.manual_seed(0)
    modalities = modalities_of(dataset)
    objective = build(modalities, run)
    model = objective.model
    optimiser = torch.optim.Adam(model.parameters(), lr=run.learning_rate, fused=True)
    batch = Batch(
        {
            m.name: torch.rand(2, *m.shape) if m.kind == "image" else torch.randint(70, (2, *m.shape))
            for m in modalities
        },
        None,
    )
    loss, _ = objective(batch)
    loss.backward()
    optimiser.step()
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())
    assert all(torch.isfinite(p).all() for p in model.parameters())
    torch.device(run.device.replace("auto", "cpu"))


@given(mutated_files(), st.integers(0, 3))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_file_is_refused_or_makes_a_step(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, sample: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "params.yaml"
    path.write_bytes(content)
    found = refused_or_resolved(path)
    if found and sample == 0:
        run = list(found.runs.values())[-1]
        assert_makes_a_step(run, found.datasets[run.dataset])


def edge(field: Any, largest: bool) -> Any:
    """The largest or smallest value that a parameter may have; None if it has no such limit."""
    for limit in field.metadata:
        for name, step in (("le", 0), ("lt", -1)) if largest else (("ge", 0), ("gt", 1)):
            if (bound := getattr(limit, name, None)) is not None:
                return bound + step if field.annotation is int or not step else bound + 1e-6
    return None


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("kind", ["mnist_svhn_text", "celeba"])
@pytest.mark.parametrize("objective", registry.entries("objectives"))
def test_all_limits_at_once_make_a_step(objective: str, kind: str, largest: bool) -> None:
    limits = {name: edge(field, largest) for name, field in run_model(objective).model_fields.items()}
    assert limits["beta"] == (1e4 if largest else 0)
    limits["likelihood_scale"] = 1e-4 if largest else 1e4  # the loss is divided by it
    if limits.get("importance_samples"):
        limits["importance_samples"] = 3  # more take longer, and are otherwise the same
    dataset = params.make_dataset(kind)
    weights = dict.fromkeys((m.name for m in modalities_of(dataset)), 1e4 if largest else 0.0)
    run = params.make_run(
        objective,
        dataset="d",
        style_weights=weights,
        reconstruction_weights=weights,
        **{name: value for name, value in limits.items() if value is not None},
    )
    assert_makes_a_step(run, dataset)


def test_every_number_has_an_upper_limit() -> None:
    options = dataset_model(None).model_fields["options"].annotation
    sections = (options, training_model(), evaluation_model())
    assert {"standin_train", "beta", "random_samples"} <= {
        name for section in sections for name in section.model_fields
    }
    for name, field in itertools.chain(*(section.model_fields.items() for section in sections)):
        if get_origin(field.annotation) is not Literal and re.search("int|float", str(field.annotation)):
            assert re.search("l[et]=", repr(field)), name


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
DATASETS = "datasets: {d: {kind: mnist_svhn_text}}\n"
RUNS = "runs: {r: {dataset: d, objective: mvae}}\n"


@pytest.mark.parametrize(
    "content",
    {
        "unknown keys": BOMB + DATASETS + RUNS,
        "as a value": BOMB + DATASETS + "runs: {r: {dataset: d, objective: mmvae, weights: *a11}}\n",
        "as seeds": BOMB + "seeds: *a11\n" + DATASETS + RUNS,
        "as a key": BOMB + "? *a11\n: 1\n" + DATASETS + RUNS,
        "merged": BOMB.replace("[x,x,x,x,x,x,x,x,x,x]", "{x: 1}") + "<<: *a11\n" + DATASETS + RUNS,
    }.values(),
    ids=["unknown keys", "as a value", "as seeds", "as a key", "merged"],
)
def test_a_billion_values_by_aliases_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    assert refused_or_resolved(tmp_path / "params.yaml") is None


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (RUNS.replace("r:", "classifiers:"), "runs.classifiers: files of the results have such a name"),
        (RUNS.replace("r:", "figures.record.json:"), "runs.figures.record.json: files of the results have"),
        (
            RUNS.replace("r:", "x" * 101 + ":"),
            f"runs.{'x' * 101}: a key names a folder: at most 100 characters",
        ),
        ("seeds: [" + "1, " * 1001 + "]\n" + RUNS, "seeds: list should have at most 1000 items"),
        (
            RUNS.replace("mvae", "mvae, epochs: 3, kl_warmup_epochs: 4"),
            "runs.r.kl_warmup_epochs: must be <= epochs, or beta is never reached (got 4 of 3 epochs)",
        ),
        (
            RUNS.replace("mvae", "mvae, network_width: 1e6"),
            "runs.r.network_width: must be <= 16 (got 1000000.0)",
        ),
        (
            RUNS.replace("mvae", "mvae, threads: 1000000000"),
            "runs.r.threads: must be <= 1024 (got 1000000000)",
        ),
        (RUNS.replace("mvae", "mvae, batch_size: 1"), "runs.r.batch_size: must be >= 2 (got 1)"),
        (RUNS.replace("mvae", "mvae, device: cuda:007"), "runs.r.device: must be auto, cpu, cuda, "),
        (
            RUNS.replace("mvae", "mmvae, weights: {mnist: 1e-300, svhn: 0, text: 0, prior: 1}"),
            "runs.r.weights: at least one modality needs a weight >= 1e-06",
        ),
        (
            "evaluation: {embedding: inception, inception_weights: none.pth}\n" + RUNS,
            "evaluation.inception_weights: must be `download` or an existing file (got 'none.pth')",
        ),
        (
            "evaluation: {posteriors: [own, prodct]}\n" + RUNS,
            "evaluation.posteriors.1: must be 'own', 'product', 'mixture', 'geometric', ",
        ),
        (
            "evaluation: {posteriors: [product]}\n" + RUNS,
            'evaluation.posteriors: add own, which the tables show (got ["product"])',
        ),
        (
            "evaluation: {posteriors: [own, own]}\n" + RUNS,
            "evaluation.posteriors: must differ from each other (got",
        ),
        (
            "evaluation: {sampler_components: 3}\n" + RUNS,
            "evaluation.sampler_components: has no effect without `sampler: mixture`; leave it out",
        ),
    ],
)
def test_what_would_fail_in_the_middle_is_refused_at_the_start(
    tmp_path: Path, content: str, line: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(DATASETS + content)
    with pytest.raises(ParameterError) as refusal:
        params.load(path)
    assert str(refusal.value).startswith(f"{path}: {line}")
