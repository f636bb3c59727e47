"""What parameters say of a table: where its modalities are, and what they become."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from mmjsd.modalities import RESERVED
from mmjsd.params.types import Section

__all__ = [
    "Column",
    "Columns",
    "FileName",
    "Image",
    "Modalities",
    "Text",
    "Vector",
    "modalities_of",
    "option_faults",
    "outside",
]

Column = Annotated[str, Field(min_length=1)]
Columns = Annotated[list[Column], Field(min_length=1)]

_LARGEST_SIDE = 1024


def outside(name: str) -> bool:
    """Tell whether the name of a file leads out of the folder that it is relative to."""
    return name.startswith("/") or bool(re.match("[A-Za-z]:", name)) or ".." in re.split(r"[/\\]", name)


def _fault(message: str) -> PydanticCustomError:
    # braces would be taken for places of a template
    return PydanticCustomError("table", "{message}", {"message": message})


def _file(name: str) -> str:
    if outside(name):
        raise _fault("must be a file below the source, named from there")
    return name


def _name(name: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_][A-Za-z0-9_.]*", name):
        raise _fault("a modality names a folder: letters, digits, '_' and '.' only")
    if name in RESERVED:
        raise _fault(f"choose another name, none of {', '.join(sorted(RESERVED))}")
    return name


def _size(size: list[int]) -> list[int]:
    if len(size) != 3 or size[0] not in (1, 3) or not all(1 <= side <= _LARGEST_SIDE for side in size[1:]):
        raise _fault(f"must be [channels, height, width]: 1 or 3 channels, 1 to {_LARGEST_SIDE} pixels")
    return size


FileName = Annotated[str, Field(min_length=1), AfterValidator(_file)]


class Vector(Section):
    """Numbers: columns of the manifest, or of a file of their own."""

    kind: Literal["vector"]
    file: FileName | None = None
    """A table of its own. Its first column has the ids; all others are values, if `columns` does not say."""
    column: Column | None = None
    """With `file`: the column of the manifest that has the ids of its rows. null: the samples' own."""
    columns: Columns | None = None
    """The columns that are its values."""
    categorical: list[Column] = Field(default_factory=list)
    """Those of them that have words, each of which becomes a column of zeros and ones: `stage=II`."""
    log1p: list[Column] = Field(default_factory=list)
    """Those of them whose logarithm log(1 + x) is taken."""
    impute: Literal["mean"] | None = None
    """What is put into empty cells: the mean of the column. null: a vector with an empty cell is missing."""

    @model_validator(mode="after")
    def _consistent(self) -> "Vector":
        if self.file is None and self.columns is None:
            raise _fault("needs a `file`, or `columns` of the manifest")
        if self.column is not None and self.file is None:
            raise _fault("`column` has no effect without `file`; name what is read in `columns`")
        named = self.columns or []
        if twice := [name for name in named if named.count(name) > 1]:
            raise _fault(f"the column {twice[0]} is named twice")
        for key, names in (("categorical", self.categorical), ("log1p", self.log1p)):
            if other := [name for name in names if self.columns is not None and name not in self.columns]:
                raise _fault(f"`{key}` has the column {other[0]}, which is not among `columns`")
        if both := [name for name in self.log1p if name in self.categorical]:
            raise _fault(f"the words of the column {both[0]} have no logarithm; leave it out of `log1p`")
        return self


class Image(Section):
    """Pictures: files that a column of the manifest names."""

    kind: Literal["image"]
    column: Column
    """Has their names, relative to the source."""
    size: Annotated[list[int], AfterValidator(_size)]
    """Channels (1: grey, 3: colour), height and width; the centre is cropped, and resized."""


class Text(Section):
    """Words: a column of the manifest."""

    kind: Literal["text"]
    column: Column
    """Has them."""
    length: Annotated[int, Field(ge=1, le=4096)]
    """Characters that are kept; shorter texts are filled up with blanks."""


Modalities = Annotated[
    dict[
        Annotated[str, AfterValidator(_name)],
        Annotated[Vector | Image | Text, Field(discriminator="kind")],
    ],
    Field(min_length=1),
]

_ADAPTER: TypeAdapter[dict[str, Vector | Image | Text]] = TypeAdapter(Modalities)


def modalities_of(described: Any) -> dict[str, Vector | Image | Text]:
    """Read the modalities of options, as mappings or as sections."""
    return _ADAPTER.validate_python(described) if described else {}


def option_faults(options: Any) -> Iterator[str]:
    """Tell what is wrong with options of a table that are sound one by one, each as `key: fault`."""
    if options.modalities is None:
        yield "modalities: is needed: the name of each, and where it is"
    if options.label is not None and options.labels is not None:
        yield "labels: leave out either these attributes or `label`, the classes"
    if options.labels is not None and len(set(options.labels)) < len(options.labels):
        yield "labels: a column is named twice"
    if options.split is not None and "test_share" in options.model_fields_set:
        yield "test_share: has no effect with `split`, a column that has the splits; leave out one of the two"
