"""Smooth random images: something to run a network on where there is no data set."""

import numpy as np

__all__ = ["smooth_images"]

CELLS = (2, 4, 8, 16)
"""Random numbers along the longer side of an image, octave by octave; each counts half as much."""


def smooth_images(shape: tuple[int, int, int], count: int, seed: int = 0) -> np.ndarray:
    """Draw images whose neighbouring pixels are alike, as in photographs.

    An image is a sum of bilinear surfaces over coarser and finer random grids, most of it shared
    by its channels, brought to a random brightness and contrast. Each is computed by itself,
    element by element, so that the first images of a seed do not depend on how many are drawn and
    are equal on every machine.

    Parameters
    ----------
    shape : (int, int, int)
        Height, width, channels.
    count : int
        Images, at least 1.
    seed : int
        Not negative.

    Returns
    -------
    uint8 array (count, H, W, C)
    """
    height, width, channels = shape
    images = np.empty((count, *shape), np.uint8)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        grey = _surface(rng, height, width)
        planes = [grey + 0.5 * _surface(rng, height, width) for _ in range(channels)]
        picture = np.stack(planes, axis=-1)  # (H, W, C)
        low, high = picture.min(), picture.max()
        contrast = rng.uniform(0.5, 1.0)
        darkest = rng.uniform(0.0, 1.0 - contrast)
        scaled = darkest + contrast * (picture - low) / max(high - low, 1e-9)
        images[number] = np.rint(255 * scaled)
    return images


def _surface(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a float64 array (H, W) of random octaves."""
    total = np.zeros((height, width))
    for octave, cells in enumerate(CELLS):
        step = max(height, width) / cells
        rows, columns = (int(np.ceil(side / step)) + 1 for side in (height, width))
        grid = rng.uniform(-1.0, 1.0, (rows, columns))
        y0, y = np.divmod(np.arange(height) / step, 1.0)
        x0, x = np.divmod(np.arange(width) / step, 1.0)
        i, j = y0.astype(int)[:, None], x0.astype(int)[None, :]
        y, x = y[:, None], x[None, :]
        top = grid[i, j] * (1 - x) + grid[i, j + 1] * x
        bottom = grid[i + 1, j] * (1 - x) + grid[i + 1, j + 1] * x
        total += 0.5**octave * (top * (1 - y) + bottom * y)
    return total
