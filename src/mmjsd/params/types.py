"""Types of parameters: what values are allowed, wherever such a parameter stands.

The limits are those beyond which a value can only be a mistake, and would fail in the middle of a run:
products of the largest factors are finite in float32, the largest counts fit into memory.
"""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from mmjsd.errors import choice_of
from mmjsd.registry import entries

__all__ = [
    "CLUSTERS",
    "EACH",
    "ONE",
    "Count",
    "Device",
    "ImageCount",
    "ImportanceSamples",
    "MeanName",
    "Missing",
    "OnlyWith",
    "PosteriorName",
    "Samples",
    "Scales",
    "Section",
    "Seed",
    "Share",
    "Threads",
    "Weight",
    "Weights",
    "one_of",
    "one_or_each",
]

CLUSTERS = 20
"""Of images, that their quality compares: fewer images cannot be judged."""

Weight = Annotated[float, Field(ge=0, le=1e4)]
Weights = dict[str, Weight]
Share = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=1e-4, le=1e4)]
Count = Annotated[int, Field(gt=0, le=10**6)]
Samples = Annotated[int, Field(ge=10, le=10**6)]
ImageCount = Annotated[int, Field(ge=CLUSTERS, le=500_000)]
ImportanceSamples = Annotated[int, Field(gt=0, le=10**4)]
Threads = Annotated[int, Field(gt=0, le=1024)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|(cuda|xpu)(:(0|[1-9][0-9]?))?)$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _in_a_word(value: Any, check: Any) -> Any:
    """What is wrong with scales, whichever of the three they are meant to be."""
    try:
        return check(value)
    except ValidationError:
        expected = "must be `learned`, a number from 0.0001 to 10000, or such a number for each modality"
        raise PydanticCustomError("likelihood_scale", expected) from None


Scales = Annotated[Scale | dict[str, Scale] | Literal["learned"], WrapValidator(_in_a_word)]


class OnlyWith(NamedTuple):
    """Says of an option, in its type, that it has an effect only with some values of another."""

    key: str
    """Of the other."""
    value: Any = None
    above: float | None = None
    """Any value above this, in place of one."""

    def is_met(self, value: Any) -> bool:
        """Tell whether the other has such a value."""
        return value == self.value if self.above is None else value > self.above

    def __str__(self) -> str:
        return f"`{self.key}: {self.value}`" if self.above is None else f"`{self.key}` above {self.above:g}"


#: What pydantic calls the members of a union in the place of a fault, where people give no key.
ONE, EACH = "[one]", "[each]"


def one_or_each(kind: Any) -> Any:
    """The type of a value for all modalities, or of a mapping from some of them to one."""
    each = Annotated[dict[str, kind], Field(min_length=1)]
    return Annotated[
        Annotated[kind, Tag(ONE)] | Annotated[each, Tag(EACH)],
        Discriminator(lambda value: EACH if isinstance(value, dict) else ONE),
    ]


Missing = one_or_each(Annotated[float, Field(ge=0, lt=1)])


def one_of(group: str, *more: str) -> Any:
    """The type of a name that the registry knows, or one of more."""
    names = [*more, *entries(group)]

    def known(name: str) -> str:
        if name not in names:
            expected = choice_of(names)
            raise PydanticCustomError("literal_error", "not one of {expected}", {"expected": expected})
        return name

    return Annotated[str, AfterValidator(known), WithJsonSchema({"enum": names, "type": "string"})]


MeanName = one_of("means")
PosteriorName = one_of("means", "own", "product", "mixture")


class Section(BaseModel):
    """A part of the parameter file.

    Strict: "5" is not 5, and true is not 1; a typo in a key is an error, not a default.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
