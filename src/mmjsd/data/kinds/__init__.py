"""Kinds of dataset: one module each, with its options, modalities, sources and builder.

A kind is a module of the group ``datasets`` of :mod:`mmjsd.registry` with the names of :class:`Kind`. It is
quick to import: what reads, draws or downloads is imported when it is needed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from mmjsd import registry
from mmjsd.params.sources import Origin

__all__ = ["Kind", "kind_of"]


class Kind(Protocol):
    """What a kind of dataset defines."""

    MODALITIES: dict[str, str]
    """In the order of its store: name -> kind and, where that is fixed, shape: `image 3x64x64`, `text`."""
    FORMS: dict[str, str]
    """Modality -> form that it is prepared in, `face` or `attributes` (the usual one, if it does not say)."""
    LABELS: Literal["class", "attributes"] | None
    """What its samples are labelled with."""
    LICENCE: str
    """Of the official files (not known, if it does not say)."""
    ON_ALL_CORES: bool
    """Whether it builds by one process a core (by one alone, if it does not say)."""
    ORIGINS: tuple[Origin, ...]
    """What its source may be (a stand-in, a download or a folder, if it does not say)."""

    def of(self, options: Mapping[str, Any]) -> "Kind":
        """Describe a dataset with these options, where modalities, labels or files depend on them.

        Of what it returns all but `build` is used, of a kind without this function the kind itself.
        """

    def faults(self, options: Any) -> Iterator[str]:
        """Tell what is wrong with options that are sound one by one, each as `key: fault`, if it has to."""

    def find_sources(self, folder: str | Path) -> dict[str, Path]:
        """Find the source files in a folder: name of each, as the store records it -> its path.

        A name that ends in ``/`` is that of a folder of images, which the next two are for.

        Raises:
            MmjsdError: some are missing; names all of them.
        """

    def extent(self, folder: Path) -> list[int]:
        """Count the images of a folder and their bytes: it tells folders apart without reading them."""

    def digest_images(self, folder: Path) -> str:
        """Hash a folder of images as the store records it."""

    def build(self, path: Path, *, source: str, source_folder: Path, seed: int, **options: Any) -> None:
        """Write the store.

        The keyword-only arguments after these three are the options of the kind: annotated with type and
        limits, with a default, and documented under ``Args:`` in the words that people read.

        Args:
            path: Of the store.
            source: `standin`, `download`, or a folder with the official files.
            source_folder: Where stand-in or downloaded files go.
            seed: Of everything random.
        """


def kind_of(name: str) -> Kind:
    """Import the kind of that name.

    Raises:
        MmjsdError: there is no such kind.
    """
    return registry.resolve("datasets", name)
