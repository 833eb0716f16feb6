"""One bit of queries and keys, and powers of two of weights."""

from typing import Any

import torch
from torch import Tensor, nn

from pyhw.nn.tokens import TokenModule

__all__ = ["Binarise", "Log2Softmax"]


class _Sign(torch.autograd.Function):
    """-1 or 1; the gradient passes where the value is within (-1, 1), else it is 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * (x.abs() < 1)


class Binarise(TokenModule):
    """Turn numbers into -1 and 1, by a threshold for each head: ``b = 1 if x > t else -1``.

    The threshold is the mean over tokens and a head's channels: in training that of the batch, in
    evaluation the one that `norm` has measured, a constant. The published code takes that of the
    whole batch in evaluation too, so that an image's answer depends on the others.

    Parameters
    ----------
    heads : int

    Source
    ------
    ShiftAddViT (NeurIPS 2023), section 4.1, and its authors' code (vanilla binarisation), there
    with codes 0 and 1 of queries and keys of length 1; signs need no length. The gradient passes
    within one standard deviation of the threshold, as Courbariaux et al., "Binarized Neural
    Networks", NeurIPS 2016.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.BatchNorm1d(heads, affine=False)

    @property
    def threshold(self) -> Tensor:
        """The measured threshold of each head, shape (heads,)."""
        assert self.norm.running_mean is not None
        return self.norm.running_mean

    def forward(self, x: Tensor) -> Tensor:
        """Return -1 and 1 for tokens (N, T, C)."""
        heads = x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (N, heads, T, D)
        if self.training:
            codes = _Sign.apply(self.norm(heads.flatten(2))).view_as(heads)
        else:
            codes = torch.where(heads > self.threshold[:, None, None], 1.0, -1.0)
        return codes.transpose(1, 2).flatten(2)


class Log2Softmax(TokenModule):
    """Softmax in base 2 whose terms are powers of two, so that what they weigh is shifted.

    ``e[j] = 2 ** round(log2(e) * x[j] - q)``, 0 where that is below ``2 ** (1 - octaves)``; q is
    the row's largest ``log2(e) * x`` rounded up to a whole number, and the result is ``e / sum e``:
    as the rounded terms are summed, most of the rounding cancels. The gradient is that of softmax.

    Parameters
    ----------
    octaves : int
        Powers of two that a term can be, from 1 down; 8 are a byte's, 16 those of 4 bits.

    Source
    ------
    Lin et al., "FQ-ViT", IJCAI 2022, section 3.3 (log2 after the division, 4 bits); Stevens et al.,
    "Softermax", DAC 2021, for base 2 and the whole number q.
    """

    def __init__(self, octaves: int = 8) -> None:
        super().__init__()
        if octaves < 1:
            raise ValueError(f"octaves must be at least 1, not {octaves!r}")
        self.octaves = octaves

    def forward(self, x: Tensor) -> Tensor:
        """Return weights along the last dimension; their sum is 1."""
        soft = x.softmax(-1)
        with torch.no_grad():
            steps = x.float() * torch.tensor(2.718281828459045).log2()
            steps = (steps - steps.amax(-1, keepdim=True).ceil()).round()
            # The largest may itself round down to q - 1, never lower.
            terms = torch.where(steps > -self.octaves, steps.exp2(), 0.0)
            hard = terms / terms.sum(-1, keepdim=True)
        return soft + (hard.to(soft.dtype) - soft).detach() if self.training else hard.to(x.dtype)

    def extra_repr(self) -> str:
        """Return the octaves as ``print(model)`` shows them."""
        return f"octaves={self.octaves}"
