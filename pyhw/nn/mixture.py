"""Mixtures of experts: each token takes one of several branches, chosen by a router that learns."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyhw.nn.tokens import TokenModule

__all__ = ["Combine", "Mixture", "Router", "balance_loss", "expert_shares", "routers"]

NOISE = 0.5
"""Standard deviation of what is added to the logits in training (the authors' code)."""
LATENCIES = (6.0, 4.0)
"""Of multiplication and shift per token, as the authors' code has them; only the ratio matters."""


class Router(TokenModule):
    """Choose an expert for each token: the one with the largest logit, the lower one of a tie.

    ``p = softmax(gate(x))``; the result is p of the expert chosen and 0 for the others. In training
    the choice is made with noise on the logits, and `loss` is the latency-aware loss of the batch::

        importance_i = latency_i * sum_x p_i(x)
        load_i       = latency_i * sum_x Pr[i is chosen under fresh noise]
        loss         = SCV(importance) + SCV(load),  SCV(v) = variance(v) / mean(v) ** 2

    which is 0 when all experts take equally long for their tokens.

    Parameters
    ----------
    channels, experts : int
        At least two experts.
    latencies : sequence of float
        Time of each expert per token, above 0, in any unit: its cycles on an accelerator.
    scale : bool
        Whether what an expert returns is scaled by its probability. If not, the result is 1 for the
        expert chosen, and the router learns as if it were scaled.

    Raises
    ------
    ValueError
        If there is nothing to choose between, or latencies do not fit the experts.

    Source
    ------
    ShiftAddViT (NeurIPS 2023), section 4.2, and NoisyGate_V2 of its authors' code; Shazeer et al.,
    "Outrageously Large Neural Networks", ICLR 2017, appendix A, for the load.
    """

    def __init__(
        self,
        channels: int,
        experts: int = 2,
        latencies: Sequence[float] = LATENCIES,
        scale: bool = True,
    ) -> None:
        super().__init__()
        if experts < 2:
            raise ValueError(f"a router must have at least 2 experts to choose from, not {experts}")
        self.gate = nn.Linear(channels, experts)
        self.scale = scale
        self.latencies = tuple(latencies)
        self.set_latencies(latencies)
        self.loss: Tensor | None = None

    def set_latencies(self, latencies: Sequence[float]) -> None:
        """Say how long each expert takes per token.

        Raises
        ------
        ValueError
            If there are not as many as experts, or one is not above 0.
        """
        if len(latencies) != self.gate.out_features or not all(
            0 < value < math.inf for value in latencies
        ):
            raise ValueError(
                f"latencies must be {self.gate.out_features} numbers above 0, not "
                f"{tuple(latencies)}"
            )
        self.latencies = tuple(float(value) for value in latencies)

    def forward(self, x: Tensor) -> Tensor:
        """Return gates (..., experts) for tokens (..., channels)."""
        logits = self.gate(x).float()
        shares = logits.softmax(-1)
        noisy = logits + NOISE * torch.randn_like(logits) if self.training else logits
        chosen = nn.functional.one_hot(noisy.argmax(-1), logits.shape[-1]).to(shares.dtype)
        if self.training:
            self.loss = self._balance(logits, noisy, shares)
        if self.scale:
            return chosen * shares
        return chosen * (1 + shares - shares.detach()) if self.training else chosen

    def _balance(self, logits: Tensor, noisy: Tensor, shares: Tensor) -> Tensor:
        best, second = noisy.topk(2, -1).values.split(1, -1)
        rival = torch.where(noisy == best, second, best)  # the best of the others
        chance = torch.special.ndtr((logits - rival) / NOISE)
        latency = torch.tensor(self.latencies, device=logits.device)
        costs = [latency * part.flatten(0, -2).sum(0) for part in (shares, chance)]
        return torch.stack([cost.var() / (cost.mean().square() + 1e-10) for cost in costs]).sum()

    def extra_repr(self) -> str:
        """Return latencies and scale as ``print(model)`` shows them."""
        return f"latencies={self.latencies}, scale={self.scale}"


class Combine(TokenModule):
    """Sum what experts return by their gates: ``y = sum_i g_i(x) E_i(x)``."""

    def forward(self, gates: Tensor, *outputs: Tensor) -> Tensor:
        """Return tokens (..., C) for gates (..., experts) and tokens of each expert."""
        parts = gates.to(outputs[0].dtype).split(1, -1)
        total = parts[0] * outputs[0]
        for gate, output in zip(parts[1:], outputs[1:], strict=True):
            total = total + gate * output
        return total


class Mixture(nn.Module):
    """Experts of which each token takes one: ``y = sum_i g_i(x) E_i(x)``, one g_i not 0.

    Here every expert sees every token and the gates leave out what is not wanted; an accelerator
    runs each expert on its own tokens.

    Parameters
    ----------
    channels : int
        Of the tokens.
    experts : sequence of torch.nn.Module
        At least two, in ShiftAddViT multiplication and shift.
    latencies, scale
        As of `Router`.

    Source
    ------
    ShiftAddViT (NeurIPS 2023), section 4.2.
    """

    def __init__(
        self,
        channels: int,
        experts: Sequence[nn.Module],
        latencies: Sequence[float] = LATENCIES,
        scale: bool = True,
    ) -> None:
        super().__init__()
        self.router = Router(channels, len(experts), latencies, scale)
        self.experts = nn.ModuleList(experts)
        self.combine = Combine()

    def forward(self, x: Tensor) -> Tensor:
        """Return the experts' tokens."""
        return self.combine(self.router(x), *[expert(x) for expert in self.experts])


def routers(model: nn.Module) -> dict[str, Router]:
    """Return the routers of a model by path."""
    return {path: part for path, part in model.named_modules() if isinstance(part, Router)}


def balance_loss(model: nn.Module) -> Tensor | None:
    """Return the sum of all routers' losses in the last forward pass, None without routers."""
    losses = [router.loss for router in routers(model).values() if router.loss is not None]
    return torch.stack(losses).sum() if losses else None


@torch.no_grad()
def expert_shares(model: nn.Module, images: Tensor) -> dict[str, tuple[float, ...]]:
    """Measure which share of the tokens takes each expert.

    Parameters
    ----------
    model : torch.nn.Module
        Left in evaluation mode.
    images : Tensor
        Inputs of the model.

    Returns
    -------
    dict of str to tuple of float
        By path of the router; a share for each expert, together 1.
    """
    found: dict[str, tuple[float, ...]] = {}
    hooks = []
    for path, router in routers(model).items():

        def count(module: nn.Module, inputs: tuple, gates: Tensor, path: str = path) -> None:
            taken = (gates > 0).flatten(0, -2).double().mean(0)
            found[path] = tuple(taken.tolist())

        hooks.append(router.register_forward_hook(count))
    try:
        model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found
