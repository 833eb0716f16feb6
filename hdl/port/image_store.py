"""What brings images to the scratchpad, as large as the images of a configuration need it."""

from .image_copy import ImageCopy, stored_as_they_come
from .unfold import Unfold

__all__ = ["image_store"]


def image_store(config):
    """Return the component for a configuration: `ImageCopy` where it will do, else `Unfold`."""
    return (ImageCopy if stored_as_they_come(config) else Unfold)(config)
