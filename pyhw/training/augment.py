"""From stored bytes to what a network sees: the input's scale, and changes that training makes."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["blend", "distort", "mirror", "to_input"]


def to_input(images: Tensor) -> Tensor:
    """Scale bytes to the network's input.

    Parameters
    ----------
    images : Tensor, shape (N, H, W) or (N, H, W, C), uint8
        Pixels, one channel when not said.

    Returns
    -------
    Tensor, shape (N, C, H, W), float32
        0..1.
    """
    maps = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
    return maps.float() / 255


def distort(x: Tensor, shift: int, turn: float, zoom: float, generator: torch.Generator) -> Tensor:
    """Move each image, and turn and scale every other one or so, with zeros coming in.

    Only half are resampled, so that the network also sees pixels as sharp as a test image's.
    Without turning and zooming it is the crop of the padded image, to the bit.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, H)
        Square images.
    shift : int
        Largest move either way, whole pixels.
    turn : float
        Largest angle either way, degrees.
    zoom : float
        Largest change of size, as a fraction.
    generator : torch.Generator
        Draws everything, on the CPU wherever the images are.

    Returns
    -------
    Tensor, shape (N, C, H, H)
        Bilinear where pixels do not meet pixels.
    """
    count, size = len(x), x.shape[2]
    pixels = torch.randint(-shift, shift + 1, (count, 2), generator=generator)
    if not turn and not zoom:
        return _crop(x, shift, pixels.to(x.device))
    move = pixels * (2 / size)
    chosen = torch.randint(2, (count,), generator=generator)
    wide, angle = (2 * torch.rand(2, count, generator=generator) - 1) * chosen
    scale, angle = 1 + zoom * wide, angle * math.radians(turn)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = (torch.stack((cosine, -sine, move[:, 0])), torch.stack((sine, cosine, move[:, 1])))
    matrix = torch.stack(rows).permute(2, 0, 1).to(x.device)  # (N, 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _crop(x: Tensor, shift: int, pixels: Tensor) -> Tensor:
    """Return the window of each padded image that `pixels` (right, down) moves to."""
    count, _, size, _ = x.shape
    padded = F.pad(x, (shift,) * 4)
    line = torch.arange(size, device=x.device) + shift
    columns, rows = line + pixels[:, :1], line + pixels[:, 1:]  # (N, H)
    image = torch.arange(count, device=x.device)[:, None, None]
    picked = padded[image, :, rows[:, :, None], columns[:, None, :]]  # (N, H, H, C)
    return picked.permute(0, 3, 1, 2)


def mirror(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror every other image or so, left to right.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Images.
    generator : torch.Generator
        Draws which, on the CPU.

    Returns
    -------
    Tensor, shape (N, C, H, W)
    """
    chosen = torch.randint(2, (len(x), 1, 1, 1), generator=generator).to(x.device)
    return torch.where(chosen == 1, x.flip(3), x)


def blend(x: Tensor, strength: float, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Blend a batch with itself in another order (mixup).

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Images.
    strength : float
        Both parameters of the beta distribution that the share is drawn from, above 0.
    generator : torch.Generator
        Draws share and order, on the CPU.

    Returns
    -------
    blended : Tensor, shape (N, C, H, W)
        ``share * x + (1 - share) * x[order]``.
    order : Tensor, shape (N,), int64
    share : float
        0.5..1.

    Source
    ------
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    share = float(np.random.default_rng(seed).beta(strength, strength))
    share = max(share, 1 - share)
    order = torch.randperm(len(x), generator=generator).to(x.device)
    return torch.lerp(x[order], x, share), order, share
