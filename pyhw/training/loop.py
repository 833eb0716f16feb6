"""The training loop: reproducible to the bit, and resumable after every epoch.

Whatever is random in an epoch comes from a generator seeded by the recipe's seed and the epoch's
number, so a resumed training needs no saved random state to go on as if it had never stopped.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyhw.nn.models import build_model
from pyhw.training.data import Dataset
from pyhw.training.recipe import Recipe

TEST_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch came to.

    Attributes
    ----------
    epoch : int
        Epochs done, from 1.
    loss : float
        Mean cross-entropy over the epoch's training batches, nats.
    accuracy : float
        Over the test images after the epoch, percent.
    seconds : float
        Wall-clock time.
    """

    epoch: int
    loss: float
    accuracy: float
    seconds: float


def to_input(images: Tensor) -> Tensor:
    """Scale bytes to the network's input.

    Parameters
    ----------
    images : Tensor, shape (N, 28, 28), uint8
        Pixels.

    Returns
    -------
    Tensor, shape (N, 1, 28, 28), float32
        0..1.
    """
    return images.unsqueeze(1).float() / 255


def distort(x: Tensor, shift: int, turn: float, zoom: float, generator: torch.Generator) -> Tensor:
    """Move each image, and turn and scale every other one or so, with zeros coming in.

    Only half are resampled, so that the network also sees pixels as sharp as a test image's.

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
        Draws everything.

    Returns
    -------
    Tensor, shape (N, C, H, H)
        Bilinear where pixels do not meet pixels.
    """
    count, size = len(x), x.shape[2]
    move = torch.randint(-shift, shift + 1, (count, 2), generator=generator) * (2 / size)
    chosen = torch.randint(2, (count,), generator=generator)
    wide, angle = (2 * torch.rand(2, count, generator=generator) - 1) * chosen
    scale, angle = 1 + zoom * wide, angle * math.radians(turn)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = (torch.stack((cosine, -sine, move[:, 0])), torch.stack((sine, cosine, move[:, 1])))
    grid = F.affine_grid(torch.stack(rows).permute(2, 0, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


@torch.no_grad()
def evaluate(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Count how many images the network classifies rightly.

    Parameters
    ----------
    model : torch.nn.Module
        Left in evaluation mode.
    images : numpy.ndarray, shape (N, 28, 28), uint8
        Pixels.
    labels : numpy.ndarray, shape (N,), int64
        Right answers.

    Returns
    -------
    float
        Percent, 0..100.
    """
    model.eval()
    right = 0.0
    for start in range(0, len(images), TEST_BATCH):
        batch = slice(start, start + TEST_BATCH)
        guess = model(to_input(torch.tensor(images[batch]))).argmax(1)
        right += (guess == torch.tensor(labels[batch])).sum().item()
    return 100 * right / len(images)


class Trainer:
    """A network in training, one epoch at a time.

    Parameters
    ----------
    recipe : Recipe
    dataset : Dataset

    Attributes
    ----------
    model : torch.nn.Module
    optimizer : torch.optim.SGD
    history : list of EpochRecord
        One per epoch done.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.dataset = recipe, dataset
        self.model = build_model(recipe.model, recipe.ops)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self.history: list[EpochRecord] = []
        self._images = torch.tensor(dataset.train_images)
        self._labels = torch.tensor(dataset.train_labels)

    def restore(
        self, model_state: dict, optimizer_state: dict, history: Iterable[EpochRecord]
    ) -> None:
        """Go on from a checkpoint's content.

        Parameters
        ----------
        model_state, optimizer_state : dict
            As their ``state_dict()`` gave them.
        history : list of EpochRecord
            Of the epochs done.
        """
        self.model.load_state_dict(model_state)
        self.optimizer.load_state_dict(optimizer_state)
        self.history = list(history)

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the epoch's images and labels; the last batch is full, leftovers wait."""
        recipe, count = self.recipe, len(self._labels)
        generator = torch.Generator().manual_seed(recipe.seed * 10007 + epoch)
        order = torch.randperm(count, generator=generator)
        batch = min(recipe.batch, count)
        for start in range(0, count - batch + 1, batch):
            index = order[start : start + batch]
            images = to_input(self._images[index])
            images = distort(images, recipe.shift, recipe.turn, recipe.zoom, generator)
            yield images, self._labels[index]

    def run_epoch(self, on_step: Callable[[float], None] | None = None) -> EpochRecord:
        """Train for one epoch and test.

        Parameters
        ----------
        on_step : callable, optional
            Called after each step with the fraction of the epoch done, 0..1.

        Returns
        -------
        EpochRecord
            Also appended to `history`.
        """
        began, epoch = time.perf_counter(), len(self.history)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr_at(epoch)
        steps = max(1, len(self._labels) // self.recipe.batch)
        total = torch.zeros(())
        self.model.train()
        for step, (images, labels) in enumerate(self._batches(epoch)):
            loss = F.cross_entropy(self.model(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
            if on_step:
                on_step((step + 1) / steps)
        accuracy = evaluate(self.model, self.dataset.test_images, self.dataset.test_labels)
        record = EpochRecord(
            epoch=epoch + 1,
            loss=total.item() / steps,
            accuracy=accuracy,
            seconds=time.perf_counter() - began,
        )
        self.history.append(record)
        return record
