"""How good a trained model is: metrics, one a module, and what they are computed with."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmjsd.evaluation.frechet import frechet_distance
    from mmjsd.evaluation.precision_recall import f_beta_pair, precision_recall_distribution

__all__ = ["f_beta_pair", "frechet_distance", "precision_recall_distribution"]


def __getattr__(name: str) -> Any:
    """Import what is asked for: torch takes seconds, and tables need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "frechet" if name == "frechet_distance" else "precision_recall"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
