"""Where in a section pydantic found a fault, as people know it."""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from mmjsd.params.types import EACH, ONE

__all__ = ["located"]


def located(
    model: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[list[int | str], Collection[str]]:
    """Give the keys that lead to a fault, and the keys that are known where it is.

    Args:
        model: of the section.
        location: `loc` of a fault in it, which has more than keys: the chosen member of a union, which a word
            in brackets is or the value of a key, and `[key]` where the key of a mapping is meant.
    """
    keys: list[int | str] = []
    here: Any = model
    known: Collection[str] = getattr(model, "model_fields", {})
    for part in location:
        if part in ("[key]", ONE, EACH):
            continue
        if members := [m for m in _members(here) if _tag(m) == part]:
            (here,) = members
        else:
            keys.append(part)
            known = [name for m in _members(here) for name in getattr(m, "model_fields", ())]
            here = next(_below(here, part), None)
    return keys, known


def _members(annotation: Any) -> list[Any]:
    """What a value may be, of a union each."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    arguments = get_args(annotation)
    if arguments and get_origin(annotation) not in (dict, list):
        return [member for argument in arguments for member in _members(argument)]
    return [annotation]


def _below(annotation: Any, part: int | str) -> Iterator[Any]:
    """What may stand below a key, or a place in a list."""
    for member in _members(annotation):
        if get_origin(member) in (dict, list):
            yield get_args(member)[-1]
        elif part in getattr(member, "model_fields", {}):
            yield member.model_fields[part].annotation


def _tag(member: Any) -> str | None:
    """The word by which a member of a union is chosen."""
    field = getattr(member, "model_fields", {}).get("kind")
    return get_args(field.annotation)[0] if field and len(get_args(field.annotation)) == 1 else None
