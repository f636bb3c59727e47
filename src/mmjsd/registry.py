"""What can be chosen by name, and where it stands: `module:attribute`, imported only when it is used.

Other packages add to it by entry points of the groups `mmjsd.objectives`, `mmjsd.means`, `mmjsd.metrics`,
`mmjsd.datasets`, `mmjsd.modalities` and `mmjsd.networks`, of the same form.
"""

import importlib
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from mmjsd.errors import MmjsdError, did_you_mean
from mmjsd.static import Option, constant, options

__all__ = ["BUILT_IN", "constant_of", "entries", "options_of", "reference", "resolve"]

BUILT_IN = {
    "objectives": {
        "mmjsd": "mmjsd.objectives:MMJSD",
        "mvae": "mmjsd.objectives:MVAE",
        "mmvae": "mmjsd.objectives:MMVAE",
        "mmvaeplus": "mmjsd.objectives:MMVAEPlus",
        "mopoe": "mmjsd.objectives:MoPoE",
        "mvtcae": "mmjsd.objectives:MVTCAE",
        "mmvm": "mmjsd.objectives:MMVM",
        "mmvm_pairwise": "mmjsd.objectives:MMVMPairwise",
    },
    "means": {
        "geometric": "mmjsd.means:geometric",
        "arithmetic": "mmjsd.means:arithmetic",
        "moment_matched": "mmjsd.means:moment_matched",
        "wasserstein": "mmjsd.means:wasserstein",
        "hoelder": "mmjsd.means:hoelder",
    },
    "metrics": {
        # in the order of the tables
        "coherence": "mmjsd.evaluation.coherence:compute",
        "representation": "mmjsd.evaluation.representation:compute",
        "prediction": "mmjsd.evaluation.prediction:compute",
        "quality": "mmjsd.evaluation.quality:compute",
        "likelihood": "mmjsd.evaluation.likelihood:compute",
    },
    "datasets": {
        "mnist_svhn_text": "mmjsd.data.kinds.mnist_svhn_text",
        "celeba": "mmjsd.data.kinds.celeba",
        "table": "mmjsd.data.kinds.table",
        "mfeat": "mmjsd.data.kinds.mfeat",
        "polymnist": "mmjsd.data.kinds.polymnist",
    },
    "modalities": {
        "image": "mmjsd.modalities.image",
        "text": "mmjsd.modalities.text",
        "vector": "mmjsd.modalities.vector",
    },
    # of the paper, by kind and shape; other shapes have the default networks of their kind
    "networks": {
        "image 1x28x28": "mmjsd.models.networks.mnist",
        "image 3x28x28": "mmjsd.models.networks.polymnist",
        "image 3x32x32": "mmjsd.models.networks.svhn",
        "image 3x64x64": "mmjsd.models.networks.celeba_image",
        "text 8": "mmjsd.models.networks.text",
        "text 256": "mmjsd.models.networks.celeba_text",
    },
}


#: Of groups whose entries are modules: the function that has the options.
_WITH_OPTIONS = {"datasets": "build"}


@cache
def entries(group: str) -> MappingProxyType[str, str]:
    """List what a group has: name -> `module:attribute`, or `module`.

    Raises:
        MmjsdError: an installed package gives a name that is taken.
    """
    found = dict(BUILT_IN[group])
    for entry in _installed().select(group=f"mmjsd.{group}"):
        if entry.name in found and found[entry.name] != entry.value:
            raise MmjsdError(
                f"mmjsd.{group}: {entry.name} is {found[entry.name]} and, by an installed package, "
                f"{entry.value}; uninstall that package, or rename its entry point"
            )
        found[entry.name] = entry.value
    return MappingProxyType(found)


@cache
def _installed() -> Any:  # of a type that depends on the version of Python
    """The entry points of all packages, which take 20 ms to find."""
    return entry_points()


def reference(group: str, name: str) -> str:
    """Tell where an entry stands.

    Raises:
        MmjsdError: there is no such entry; the line names a near one.
    """
    known = entries(group)
    if name in known:
        return known[name]
    raise MmjsdError(f"{name}: not one of the {group}; {did_you_mean(str(name), known)}")


def resolve(group: str, name: str) -> Any:
    """Import an entry.

    Raises:
        MmjsdError: there is none of that name, or an installed package fails when it is imported.
    """
    place = reference(group, name)
    module, _, attribute = place.partition(":")
    try:
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found
    except (ImportError, AttributeError) as error:
        if module.partition(".")[0] == "mmjsd":
            raise
        raise MmjsdError(f"mmjsd.{group}: {name} is {place}, which cannot be imported ({error})") from None


def options_of(group: str, name: str) -> dict[str, Option]:
    """Read the options of an entry, without importing it.

    Raises:
        MmjsdError: there is none of that name, or no such source.
    """
    place = reference(group, name)
    if ":" not in place and group in _WITH_OPTIONS:
        place = f"{place}:{_WITH_OPTIONS[group]}"
    try:
        return options(place)
    except (ImportError, AttributeError) as error:
        raise MmjsdError(f"mmjsd.{group}: {name} is {place}, whose source cannot be read ({error})") from None


def constant_of(group: str, name: str, constant_name: str, default: Any) -> Any:
    """Read a constant of the module of an entry, without importing it; the default where it has none.

    Raises:
        MmjsdError: there is no such entry, or its source or that constant cannot be read.
    """
    place = reference(group, name)
    module = place.partition(":")[0]
    try:
        return constant(module, constant_name, default)
    except Exception as error:  # whatever a package of others leads to
        if module.partition(".")[0] == "mmjsd":
            raise
        raise MmjsdError(
            f"mmjsd.{group}: {name} is {place}, whose {constant_name} cannot be read ({error})"
        ) from None
