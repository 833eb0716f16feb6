"""Calibration images and the normalisation of a data loader: what they may be."""

from typing import Any

import numpy as np
import torch

from pyhw.errors import UserError

__all__ = ["Normalise", "check_images", "check_normalise", "probe_images", "scale_doubts"]

Normalise = tuple[np.ndarray, np.ndarray]
"""Mean and deviation, float64 arrays (C,)."""

FARTHEST = 2.0
"""Largest mean, and largest deviation, of pixels / 255 that a data loader can mean."""
DARKEST = 31
"""Brightest pixel of images that are probably of another scale."""
PROBES = 4
"""Images that the model itself is run on: calibration images, and one of noise."""


def check_images(images: Any) -> np.ndarray:
    """Return calibration images as an array (N, H, W, C).

    Parameters
    ----------
    images : uint8 array (N, H, W) or (N, H, W, C)
        As the user gives them.

    Raises
    ------
    UserError
        If they are of another kind, or of another scale than 0..255.
    """
    if isinstance(images, torch.Tensor):
        raise UserError(
            "calibration images must be a NumPy array, not a tensor: use images.numpy(), after "
            "images.permute(0, 2, 3, 1) where channels come first"
        )
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = getattr(images, "dtype", type(images).__name__)
        scale = ""
        if isinstance(images, np.ndarray) and images.size and images.dtype.kind in "fb":
            scale = ": pixels from 0 to 255, so (255 * images).astype('uint8') if they end at 1"
        raise UserError(f"calibration images must be unsigned bytes (uint8), not {found}{scale}")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or not images.size:
        raise UserError(
            "calibration images must be an array (images, height, width, channels) of at least "
            f"one image, not of shape {images.shape}"
        )
    low, high = int(images.min()), int(images.max())
    if low == high:
        raise UserError(
            f"calibration images must differ: every pixel of them is {low}; give images of the "
            "training set"
        )
    if len(images) > 1 and (images == images[0]).all():
        raise UserError(
            f"calibration images must differ: all {len(images)} are the same; give images of the "
            "training set"
        )
    if high == 1:
        raise UserError(
            "calibration images must be bytes from 0 to 255: all pixels are 0 or 1, as of images "
            "from 0 to 1 that were cast; use (255 * images).astype('uint8')"
        )
    return images


def scale_doubts(images: np.ndarray) -> list[str]:
    """Return what makes one doubt that images, which `check_images` returned, are of 0 to 255."""
    high = int(images.max())
    if high > DARKEST:
        return []
    return [
        f"the brightest pixel of all calibration images is {high} of 255: were they scaled to "
        f"0 to {high}? The model sees pixels / 255"
    ]


def check_normalise(normalise: Any, channels: int) -> Normalise:
    """Return mean and deviation of a data loader, in units of pixels / 255.

    Raises
    ------
    UserError
        If they are not one number a channel, or in other units.
    """
    try:
        mean, deviation = (np.asarray(part, np.float64) for part in normalise)
    except (TypeError, ValueError):
        mean = deviation = np.zeros(0)
    fits = mean.shape == deviation.shape == (channels,)
    if not fits or not (np.isfinite(mean).all() and (deviation > 0).all()):
        raise UserError(
            f"normalise must be {channels} mean(s) and {channels} deviation(s) above 0, "
            f"one for each channel, not {normalise!r}"
        )
    if max(np.abs(mean).max(), deviation.max()) > FARTHEST:
        raise UserError(
            f"normalise must be in units of pixels / 255: mean {_listed(mean)} and deviation "
            f"{_listed(deviation)} look like units of 0 to 255; divide both by 255"
        )
    return mean, deviation


def _listed(numbers: np.ndarray) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)


def probe_images(images: np.ndarray) -> np.ndarray:
    """Return the images that the model is compared on: some of them, the second is noise."""
    chosen = images[np.linspace(0, len(images) - 1, PROBES).astype(int)]
    generator = np.random.default_rng(0)
    chosen[1] = generator.integers(0, 256, chosen[1].shape)
    return chosen
