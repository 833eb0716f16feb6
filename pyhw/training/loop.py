"""The training loop: reproducible to the bit, and resumable after every epoch.

Whatever is random in an epoch comes from a generator seeded by the recipe's seed and the epoch's
number, so a resumed training needs no saved random state to go on as if it had never stopped.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pyhw.errors import UserError
from pyhw.nn.adaptive import adaptive_step
from pyhw.nn.kinds import layer_class_of
from pyhw.nn.mixture import balance_loss
from pyhw.training.augment import blend, distort, mirror, to_input
from pyhw.training.data import Dataset
from pyhw.training.guard import Diverged, first_not_finite, out_of_memory
from pyhw.training.losses import Answers, soft_cross_entropy
from pyhw.training.networks import build, check_fit
from pyhw.training.optim import make_optimizer
from pyhw.training.parallel import (
    ALONE,
    Processes,
    average_gradients,
    share_statistics,
)
from pyhw.training.pkkd import Distillation
from pyhw.training.recipe import Recipe
from pyhw.training.statistics import measure_statistics

__all__ = ["EpochRecord", "Trainer", "distort", "evaluate", "to_input"]

TEST_BATCH = 500
SAMPLE = 16
"""Batches by which the statistics of batch norms are measured before a test."""
CHECK_EVERY = 50
"""Steps between looks at the loss on a GPU, where each look makes the processor wait."""


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


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    device: torch.device | str = "cpu",
    processes: Processes = ALONE,
) -> float:
    """Count how many images the network classifies rightly.

    Parameters
    ----------
    model : torch.nn.Module
        Left in evaluation mode.
    images : numpy.ndarray, shape (N, H, W) or (N, H, W, C), uint8
        Pixels.
    labels : numpy.ndarray, shape (N,), int64
        Right answers.
    device : torch.device
        Where the model is.
    processes : Processes
        Which share the work.

    Returns
    -------
    float
        Percent, 0..100.
    """
    model.eval()
    count = len(images)
    images, labels = (part[processes.rank :: processes.size] for part in (images, labels))
    right = 0.0
    for start in range(0, len(images), TEST_BATCH):
        batch = slice(start, start + TEST_BATCH)
        guess = model(to_input(torch.tensor(images[batch]).to(device))).argmax(1)
        right += (guess == torch.tensor(labels[batch]).to(device)).sum().item()
    return 100 * processes.total(torch.tensor(right, device=device)).item() / count


class Trainer:
    """A network in training, one epoch at a time.

    Parameters
    ----------
    recipe : Recipe
    dataset : Dataset
    device : torch.device or str
        Where to compute.
    processes : Processes
        This process among those that train together.
    teacher : torch.nn.Module, optional
        A trained network for the same images, whose answers take the place of the labels.

    Attributes
    ----------
    model : torch.nn.Module
    distillation : Distillation or None
        The teacher, when the recipe has one.
    optimizer : torch.optim.Optimizer
    history : list of EpochRecord
        One per epoch done.

    Raises
    ------
    UserError
        If network and data do not fit, or the batch cannot be shared.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        device: torch.device | str = "cpu",
        processes: Processes = ALONE,
        teacher: nn.Module | None = None,
    ) -> None:
        check_fit(recipe, dataset)
        self._batch = min(recipe.batch, len(dataset.train_labels))
        if self._batch % processes.size or self._batch < 2 * processes.size:
            raise UserError(
                f"batch must be a multiple of the {processes.size} processes, two images each at "
                f"least, not {self._batch}"
            )
        torch.manual_seed(recipe.seed)
        self.recipe, self.dataset = recipe, dataset
        self.device, self.processes = torch.device(device), processes
        self.model = build(recipe)
        self.distillation = Distillation(recipe, self.model) if recipe.teacher else None
        if recipe.precision == "bfloat16":
            _keep_distances_exact(self.model)
        whole = [self.model, self.distillation] if self.distillation else [self.model]
        for module in whole:
            module.to(self.device)
            if processes.size > 1:
                share_statistics(module)
        self.optimizer = make_optimizer(recipe, whole)
        if processes.size > 1 and any(getattr(m, "eta", None) for m in self.model.modules()):
            adaptive_step(self.model, self.optimizer)
        self.teacher = None if teacher is None else teacher.eval().to(self.device)
        self._share = slice(processes.rank, None, processes.size)
        self.history: list[EpochRecord] = []
        self._images = torch.tensor(dataset.train_images).to(self.device)
        self._labels = torch.tensor(dataset.train_labels).to(self.device)

    def restore(
        self,
        model_state: dict,
        optimizer_state: dict,
        history: Iterable[EpochRecord],
        distillation_state: dict | None = None,
    ) -> None:
        """Go on from a checkpoint's content.

        Parameters
        ----------
        model_state, optimizer_state : dict
            As their ``state_dict()`` gave them.
        history : list of EpochRecord
            Of the epochs done.
        distillation_state : dict, optional
            Of teacher and aligners, when the recipe has one.
        """
        self.model.load_state_dict(model_state)
        self.optimizer.load_state_dict(optimizer_state)
        if self.distillation is not None:
            self.distillation.load_state_dict(distillation_state or {})
        self.history = list(history)

    def _indices(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the images of each full batch, in an order that the generator draws."""
        order = torch.randperm(len(self._labels), generator=generator).to(self.device)
        for index in order.split(self._batch):
            if len(index) == self._batch:  # leftovers wait
                yield index

    def _generator(self, epoch: int) -> torch.Generator:
        """Return what decides all that is random in an epoch."""
        return torch.Generator().manual_seed(self.recipe.seed * 10007 + epoch)

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Answers]]:
        """Yield this process's images and what they should be taken for."""
        recipe, generator = self.recipe, self._generator(epoch)
        for index in self._indices(generator):
            images = to_input(self._images[index])
            images = distort(images, recipe.shift, recipe.turn, recipe.zoom, generator)
            if recipe.flip:
                images = mirror(images, generator)
            labels, other, share = self._labels[index], None, 1.0
            if recipe.mixup:
                images, order, share = blend(images, recipe.mixup, generator)
                other = labels[order][self._share]
            yield images[self._share], Answers(labels[self._share], other, share)

    def _sample(self, epoch: int) -> Iterator[Tensor]:
        """Yield this process's undistorted images of an epoch's first batches."""
        for index in itertools.islice(self._indices(self._generator(epoch)), SAMPLE):
            yield to_input(self._images[index[self._share]])

    def _step(self, images: Tensor, wanted: Answers) -> Tensor:
        """Take one step and return the loss; the weights stay when it is not finite (on a CPU)."""
        half = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            answers = self.model(images)
            if self.distillation is not None:
                loss, shown = self.distillation.loss(images, answers.float(), wanted.labels)
            elif self.teacher is not None:
                with torch.no_grad():
                    lesson = self.teacher(images)
                loss = shown = soft_cross_entropy(answers, lesson, self.recipe.temperature)
            else:
                loss = shown = wanted.loss(answers.float(), self.recipe.smoothing)
            unfair = balance_loss(self.model)
            if unfair is not None:
                loss = loss + self.recipe.balance * unfair
        shown = self.processes.total(shown.detach()) / self.processes.size
        if self.device.type == "cpu" and not shown.isfinite():
            return shown
        self.optimizer.zero_grad()
        loss.backward()
        if self.processes.size > 1:
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            average_gradients(trained, self.processes)
        self.optimizer.step()
        return shown

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

        Raises
        ------
        Diverged
            If the loss is not a finite number; the text says where.
        UserError
            If memory runs out.
        """
        began, epoch = time.perf_counter(), len(self.history)
        steps = max(1, len(self._labels) // self.recipe.batch)
        total = torch.zeros((), device=self.device)
        torch.manual_seed(self._generator(epoch).initial_seed())  # what layers draw
        self.model.train()
        if self.distillation is not None:
            self.distillation.train()
        with out_of_memory(self.recipe.batch, self.processes.size):
            for step, (images, wanted) in enumerate(self._batches(epoch)):
                smooth = self.recipe.schedule == "ramp" or self.recipe.warmup > 0
                for group in self.optimizer.param_groups:
                    rate = self.recipe.lr_at(epoch + smooth * (step + 0.5) / steps)
                    group["lr"] = rate * group.get("increase", 1.0)
                total += self._step(images, wanted)
                last = step + 1 == steps
                looks = self.device.type == "cpu" or last or step % CHECK_EVERY == 0
                if looks and not total.isfinite():
                    where = first_not_finite(self.model, images)
                    raise Diverged(
                        f"the loss is not a finite number in epoch {epoch + 1}, step {step + 1} "
                        f"of {steps}; first in {where}"
                    )
                if on_step:
                    on_step((step + 1) / steps)
            measure_statistics(self.model, self._sample(epoch))
            accuracy = evaluate(
                self.model, self.dataset.test_images, self.dataset.test_labels, self.device,
                self.processes,
            )  # fmt: skip
        record = EpochRecord(
            epoch=epoch + 1,
            loss=total.item() / steps,
            accuracy=accuracy,
            seconds=time.perf_counter() - began,
        )
        self.history.append(record)
        return record


def _keep_distances_exact(model: nn.Module) -> None:
    """Let adder layers compute in float32: a sum of hundreds of distances has no 8 bits to spare.

    Shift layers need nothing: powers of two are exact in bfloat16.
    """

    def widen(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.float() for x in inputs)

    for module in model.modules():
        known = layer_class_of(module)
        if known is not None and known.exact_sums:
            module.register_forward_pre_hook(widen)
