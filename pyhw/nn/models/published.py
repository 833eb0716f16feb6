"""What the authors' code of published transformers calls its tensors."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from pyhw.errors import UserError
from pyhw.nn.kinds import Source
from pyhw.nn.kinds.base import Rename

__all__ = ["SOURCES"]

Tensors = Mapping[str, Tensor]
Regrouped = tuple[dict[str, Tensor], dict[str, str]]

_TIMM = (
    Rename(r"^(pos_embed\d?)$", r"\1.embedding"),
    Rename(r"^cls_token$", "cls_token.token"),
)
_SHARED = re.compile(r"^transformers\.(\d+)\.blocks\.(\d+)\.(.*)$")


def _recursions(theirs: Tensors) -> Regrouped:
    """Take a block that SReT's list of modules holds twice once, and number recursions.

    Of its four entries a recursion, 0 and 2 are the same block, 1 and 3 what follows each run.
    """
    found: dict[str, Tensor] = {}
    told: dict[str, str] = {}
    for name, tensor in theirs.items():
        match = _SHARED.match(name)
        if match is None:
            found[name], told[name] = tensor, name
            continue
        stage, place, rest = match[1], int(match[2]), match[3]
        part = f"after.{place % 4 // 2}" if place % 2 else "block"
        new = f"stages.{stage}.{place // 4 + 1}.{part}.{rest}"
        if new in found and not torch.equal(found[new], tensor):
            raise UserError(
                f"{told[new]} and {name} must be equal, being one shared block: the file is of "
                "another network, or damaged"
            )
        told[new] = f"{told[new]} = {name}" if new in found else name
        found[new] = tensor
    missing = [
        twin
        for name in theirs
        if (match := _SHARED.match(name)) and not int(match[2]) % 2
        and (twin := f"transformers.{match[1]}.blocks.{int(match[2]) ^ 2}.{match[3]}") not in theirs
    ]  # fmt: skip
    if missing:
        raise UserError(f"the file lacks {missing[0]}, the second entry of a shared block")
    return found, told


def _projections(theirs: Tensors) -> Regrouped:
    """Join ShiftAddViT's shared projection of queries and keys with that of values; turn gates."""
    found: dict[str, Tensor] = {}
    told: dict[str, str] = {}
    for name in theirs:
        if re.search(r"\.attn\.(to_qk|to_v|proj)\.(experts|gate)\.", name):
            raise UserError(
                f"{name}: projections of attention as mixtures (moe_attn) are not supported: "
                "import the checkpoint of the step before, and train on with `pyhw train "
                "--attention shiftadd --mlp moe --start FILE`"
            )
    for name, tensor in theirs.items():
        joint = re.match(r"^(.*\.attn)\.to_v\.(.*)$", name)
        if joint:
            shared = f"{joint[1]}.to_qk.{joint[2]}"
            if shared not in theirs:
                raise UserError(f"the file lacks {shared}, which belongs to {name}")
            new = f"{joint[1]}.qkv.{joint[2]}"
            found[new] = torch.cat((theirs[shared], theirs[shared], tensor))
            told[new] = f"{shared} twice, {name}"
        elif name.endswith(".gate.w_gate"):
            new = name.replace(".gate.w_gate", ".gate.gate.weight")
            found[new], told[new] = tensor.T.contiguous(), name
            bias = new.replace("weight", "bias")
            found[bias], told[bias] = torch.zeros(tensor.shape[1]), "nothing"
        elif ".attn.to_qk." not in name:
            found[name], told[name] = tensor, name
    return found, told


_LINEAR = "attention of codes 0 and 1 with a threshold of each batch, not of signs with a fixed one"

SOURCES: dict[str, Source] = {
    # szq0214/SReT
    "sret": Source(
        ops="conv", regroup=_recursions, normalised=("imagenet",),
        renames=(*_TIMM, Rename(r"\.coefficient(\d)\.bias$", r".coefficient\1.scale")),
    ),
    # whai362/PVT, both versions
    "pvt": Source(
        ops="conv", normalised=("imagenet",),
        renames=(*_TIMM, Rename(r"\.dwconv\.dwconv\.", ".dwconv.")),
    ),
    # GATECH-EIC/ShiftAddViT: its NaiveGate has a bias and returns 1, the noisy ones have neither
    "shiftaddvit": Source(
        ops="conv", regroup=_projections, normalised=("imagenet",),
        renames=(
            *_TIMM,
            Rename(r"\.dwconv\.dwconv\.", ".dwconv."),
            Rename(r"\.gate\.gate\.", ".router.gate."),
        ),
        ignored=(r"\.qk_quant\.", r"\.gate\.w_noise$"),
        lossy=(
            (r"\.qk_quant\.ksh\.", "a Gaussian hash, which multiplies more than it saves"),
            (r"\.attn\.dconv\.", _LINEAR),
        ),
        options=(
            (r"^block1\.\d+\.attn\.qkv\.", {"attention": "msa"}),
            (r"\.attn\.dconv\.", {"attention": "linear"}),
            (r"\.attn\.to_v\.shift$", {"attention": "shiftadd"}),
            (r"\.mlp\.(fc1\.)?experts\.", {"mlp": "moe"}),
            (r"\.gate\.gate\.", {"gate_scale": False}),
        ),
    ),
    # facebookresearch/deit, and timm
    "deit": Source(ops="conv", normalised=("imagenet",), renames=_TIMM),
}  # fmt: skip
"""Reference implementations by name; those of kinds of layers are with the kinds."""
