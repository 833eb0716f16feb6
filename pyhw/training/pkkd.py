"""Progressive kernel-based knowledge distillation: an adder network learns from a CNN beside it.

The teacher has the same architecture with ordinary convolutions, starts from random weights too,
and is trained at the same time, by the labels alone. At each step the student is drawn to the
teacher's answers and, layer by layer, to its features, both seen through a kernel, because weights
of trained adder networks are spread like Laplace's law and those of CNNs like Gauss's.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyhw.errors import UserError
from pyhw.nn.adder import Adder
from pyhw.nn.models import build_model
from pyhw.training.recipe import Recipe

__all__ = ["Distillation", "paired_layers"]

LIMIT = 4.0
"""Normalised features beyond this many deviations count as this many: the kernels stay bounded."""


def paired_layers(student: nn.Module, teacher: nn.Module) -> list[str]:
    """Return the names of the student's adder layers, in order, that the teacher has too."""
    there = {name for name, _ in teacher.named_modules()}
    return [
        name
        for name, module in student.named_modules()
        if isinstance(module, Adder) and name in there
    ]


class _Aligner(nn.Module):
    """One pair of layers: kernels, 1x1 convolutions of both features, and their distance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.student = nn.Conv1d(channels, channels, 1, bias=False)
        self.teacher = nn.Conv1d(channels, channels, 1, bias=False)
        for layer in (self.student, self.teacher):
            nn.init.dirac_(layer.weight)
        # Mean 0 and variance 1 of every channel over batch and places, in evaluation too.
        self.normalise = nn.BatchNorm1d(channels, affine=False, track_running_stats=False)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        # (N, C) or (N, C, H, W) -> (N, C, L)
        one, other = (self.normalise(x.flatten(2) if x.dim() > 2 else x[:, :, None])
                      for x in (student, teacher))  # fmt: skip
        near = torch.exp(one.clamp(-LIMIT, LIMIT) / 2)  # y is minus a distance already
        alike = torch.exp(other.clamp(-LIMIT, LIMIT) / 2)  # exp(-|x - f|^2) grows with x * f
        # Normalised once more: distance 0 is not to be had by aligning everything to nothing.
        return F.mse_loss(self.normalise(self.student(near)), self.normalise(self.teacher(alike)))


class Distillation(nn.Module):
    """A teacher beside a student in training.

    Parameters
    ----------
    recipe : Recipe
        Of the student.
    student : torch.nn.Module
        With adder layers.

    Attributes
    ----------
    teacher : torch.nn.Module
        Same architecture with ordinary convolutions.
    aligners : torch.nn.ModuleList
        One for each pair of layers.

    Raises
    ------
    UserError
        If the student has no adder layers.

    Notes
    -----
    The paper's authors released no code. Reconstructed are the weights of the loss's parts
    and where the kernels act: on features normalised per channel (their width then is 1), since
    the exponential of a bare L1 distance, some hundreds, is 0 in any float.

    Source
    ------
    Xu et al., "Kernel Based Progressive Distillation for Adder Neural Networks" (PKKD), NeurIPS
    2020, arXiv 2009.13044, section 3.
    """

    def __init__(self, recipe: Recipe, student: nn.Module) -> None:
        super().__init__()
        self._recipe = recipe
        self.teacher = build_model(recipe.model, "conv")
        self._names = paired_layers(student, self.teacher)
        if not self._names:
            raise UserError(f"teacher: {recipe.model} has no {recipe.ops} layers to learn from one")
        modules = dict(student.named_modules())
        self.aligners = nn.ModuleList(_Aligner(len(modules[n].weight)) for n in self._names)
        self._features: dict[str, dict[str, Tensor]] = {"student": {}, "teacher": {}}
        for who, model in (("student", student), ("teacher", self.teacher)):
            layers = dict(model.named_modules())
            for name in self._names:
                layers[name].register_forward_hook(self._keep(who, name))

    def _keep(self, who: str, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            if module.training:
                self._features[who][name] = output

        return hook

    def loss(self, x: Tensor, answers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both networks' losses, after the student's forward pass.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
            Batch that the student has just seen.
        answers : Tensor, shape (N, classes)
            Its logits.
        labels : Tensor, shape (N,)
            Right answers.

        Returns
        -------
        total : Tensor
            What to call `backward` of: the student's loss and the teacher's, which share no
            trained weights, so their sum trains either by its own.
        reported : Tensor
            The student's cross-entropy with the labels, as without a teacher.
        """
        lesson = self.teacher(x)
        blend = F.cross_entropy(answers, labels)
        soft = F.cross_entropy(answers, lesson.detach().softmax(1))
        middle = answers.new_zeros(())
        for name, aligner in zip(self._names, self.aligners, strict=True):
            student, teacher = (self._features[who].pop(name) for who in ("student", "teacher"))
            middle = middle + aligner(student.float(), teacher.detach().float())
        recipe = self._recipe
        total = recipe.alpha * blend + soft + recipe.beta * middle
        return total + F.cross_entropy(lesson, labels), blend
