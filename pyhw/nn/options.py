"""What a network's layers are told beside their sizes: the knobs of the published methods."""

from dataclasses import dataclass

__all__ = ["LayerOptions"]


@dataclass(frozen=True, kw_only=True)
class LayerOptions:
    """Options of a network's inner layers; each kind of layer reads its own.

    Attributes
    ----------
    gradient : {'full', 'sign'}
        Adder layers: the published full-precision weight gradient, or the sign of it.
    eta : float or None
        Adder layers: root mean square of the weight gradient; None leaves it unscaled.
    bits : int
        Shift and masked layers: bits of a weight (sign and exponent), 2..8.
    terms : int
        Shift layers: powers of two per weight, 1 or 2.
    low : int or None
        Shift layers: smallest exponent, instead of the one that `bits` gives; -127..0.
    frozen : bool
        Shift layers, alone or in ShiftAddNet: they keep their first weights.
    prune : float
        Share of the frozen shift weights that are 0, from 0 to below 1.
    sharing : {'dense', 'one-layer', 'mp', 'rp'}
        PEMN: every layer has weights of its own, or all take them from one layer, from the
        largest layer (max-layer padding), or from one short random vector, repeated.
    fraction : float
        PEMN with 'rp': length of the vector as a share of the largest layer, above 0, at most 1.
    sparsity : float
        PEMN: share of the weights that the masks leave out, from 0 to below 1.
    sliced : bool
        SReT: tokens attend within slices.
    loops : int
        SReT: how often each block is run in a row, 1..4.
    attention : {'softmax', 'msa', 'log2', 'adder', 'binary', 'linear', 'shiftadd'}
        Transformers: softmax attention; without spatial reduction; with powers of two for its
        weights; by L1 distances; of signs; linear in the tokens, of signs; that with shift layers
        for projections.
    mlp : {'dense', 'shift', 'moe'}
        ShiftAddViT: MLPs of ordinary layers, of shift layers, or mixtures of both.
    latency_ratio : float
        ShiftAddViT with 'moe': time of a token in the multiplication expert over that in the shift
        expert, above 0, at most 100.
    gate_scale : bool
        ShiftAddViT with 'moe': what an expert returns is scaled by its probability.
    drop_path : float
        Transformers: share of the images that skip the last block's branches in training, from 0
        to below 1; earlier blocks skip fewer.
    """

    gradient: str = "full"
    eta: float | None = 0.2
    bits: int = 5
    terms: int = 1
    low: int | None = None
    frozen: bool = False
    prune: float = 0.0
    sharing: str = "dense"
    fraction: float = 1.0
    sparsity: float = 0.5
    sliced: bool = True
    loops: int = 2
    attention: str = "softmax"
    mlp: str = "dense"
    latency_ratio: float = 1.5
    gate_scale: bool = True
    drop_path: float = 0.0
