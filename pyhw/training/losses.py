"""What a training makes small."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

__all__ = ["Answers", "soft_cross_entropy"]


@dataclass(frozen=True)
class Answers:
    """What a batch should be taken for: labels, or a blend of two for each image.

    Attributes
    ----------
    labels, other : Tensor, shape (N,)
        `other` is None without a blend.
    share : float
        Of `labels` in the blend.
    """

    labels: Tensor
    other: Tensor | None = None
    share: float = 1.0

    def loss(self, answers: Tensor, smoothing: float) -> Tensor:
        """Return the mean cross-entropy of logits (N, classes), in nats."""
        loss = F.cross_entropy(answers, self.labels, label_smoothing=smoothing)
        if self.other is None:
            return loss
        mixed = F.cross_entropy(answers, self.other, label_smoothing=smoothing)
        return self.share * loss + (1 - self.share) * mixed


def soft_cross_entropy(answers: Tensor, lesson: Tensor, temperature: float = 1.0) -> Tensor:
    """Return how far a student's logits are from a teacher's.

    ``-sum softmax(t / T) log_softmax(s / T)``, the mean over the images, in nats.

    Parameters
    ----------
    answers, lesson : Tensor, shape (N, classes)
        Logits of student and teacher.
    temperature : float
        T, above 0.

    Source
    ------
    Shen et al., "SReT", ECCV 2022, section 4, and its authors' code: no hard labels, no factor of
    T squared.
    """
    wanted = (lesson.float() / temperature).softmax(1)
    return F.cross_entropy(answers.float() / temperature, wanted)
