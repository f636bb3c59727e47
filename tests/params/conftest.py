from pathlib import Path

import pytest

from mmjsd import params
from mmjsd.params import ParameterError, Params


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a parameter file of this content, called params.yaml as in the messages."""
    monkeypatch.chdir(tmp_path)

    def load(content: str | bytes) -> Params:
        Path("params.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        return params.load()

    return load


@pytest.fixture
def faults(load):
    """The lines of the refusal of a file, without its name, which every line starts with."""

    def faults(content: str | bytes) -> list[str]:
        with pytest.raises(ParameterError) as refusal:
            load(content)
        lines = str(refusal.value).splitlines()
        assert all(line.startswith("params.yaml: ") for line in lines), lines
        return [line.removeprefix("params.yaml: ") for line in lines]

    return faults
