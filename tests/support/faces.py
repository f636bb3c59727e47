"""Images of the official size."""

from io import BytesIO
from typing import Any

from PIL import Image

__all__ = ["jpeg"]


def jpeg(image: Image.Image, **options: Any) -> bytes:
    """The content of a file."""
    content = BytesIO()
    image.save(content, "JPEG", **{"quality": 100, "subsampling": 0} | options)
    return content.getvalue()
