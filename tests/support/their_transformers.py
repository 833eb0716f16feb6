"""Checkpoints of published transformers, by the documented names and shapes."""

import torch

__all__ = ["pvtv2", "sret", "step"]


def _pair(state, name, *shape):
    state[f"{name}.weight"] = torch.randn(shape) * 0.02
    state[f"{name}.bias"] = torch.randn(shape[0]) * 0.02


def _norm(state, name, width):
    state[f"{name}.weight"], state[f"{name}.bias"] = torch.ones(width), torch.zeros(width)


def _batch_norm(state, name, width):
    _norm(state, name, width)
    state[f"{name}.running_mean"] = torch.zeros(width)
    state[f"{name}.running_var"] = torch.ones(width)
    state[f"{name}.num_batches_tracked"] = torch.tensor(1)


def sret(hidden=(230, 460, 921)):
    """Return SReT-T as its authors save it: a shared block under two places."""
    state = {"pos_embed": torch.randn(1, 64, 28, 28)}
    for number, (inputs, outputs) in enumerate(((3, 32), (32, 64), (64, 64)), 1):
        _pair(state, f"patch_embed.conv{number}", outputs, inputs, 3, 3)
        _batch_norm(state, f"patch_embed.bn{number}", outputs)
    for stage, (width, count, inner) in enumerate(zip((64, 128, 256), (2, 5, 3), hidden)):
        for recursion in range(count):
            block = {}
            places = [f"transformers.{stage}.blocks.{4 * recursion + i}" for i in range(4)]
            _norm(block, "norm1", width)
            _norm(block, "norm2", width)
            _pair(block, "attn.qkv", 3 * width, width)
            _pair(block, "attn.proj", width, width)
            _pair(block, "mlp.fc1", inner, width)
            _pair(block, "mlp.fc2", width, inner)
            block |= {f"coefficient{i}.bias": torch.randn(1) for i in range(1, 5)}
            for place in places[::2]:
                state |= {f"{place}.{name}": tensor for name, tensor in block.items()}
            for place in places[1::2]:
                _norm(state, f"{place}.norm1", width)
                _pair(state, f"{place}.mlp.fc1", width, width)
                _pair(state, f"{place}.mlp.fc2", width, width)
                state |= {f"{place}.coefficient{i}.bias": torch.randn(1) for i in (1, 2)}
        if stage < 2:
            _pair(state, f"pools.{stage}.conv", 2 * width, 1, 3, 3)
    _norm(state, "norm", 256)
    _pair(state, "head", 1000, 256)
    return state


def pvtv2(attention, mlp):
    """Return PVTv2-B0 with attention and linear layers of MLPs as two functions write them."""
    state, inputs = {}, 3
    for stage, (width, ratio) in enumerate(zip((32, 64, 160, 256), (8, 8, 4, 4)), 1):
        kernel = 7 if stage == 1 else 3
        _pair(state, f"patch_embed{stage}.proj", width, inputs, kernel, kernel)
        _norm(state, f"patch_embed{stage}.norm", width)
        _norm(state, f"norm{stage}", width)
        inputs = width
        for block in range(2):
            name = f"block{stage}.{block}"
            _norm(state, f"{name}.norm1", width)
            _norm(state, f"{name}.norm2", width)
            attention(state, f"{name}.attn", width, stage)
            mlp(state, f"{name}.mlp.fc1", ratio * width, width)
            mlp(state, f"{name}.mlp.fc2", width, ratio * width)
            _pair(state, f"{name}.mlp.dwconv.dwconv", ratio * width, 1, 3, 3)
    _pair(state, "head", 1000, 256)
    return state


def official(state, name, width, stage):
    """Write the attention of PVTv2 itself."""
    _pair(state, f"{name}.q", width, width)
    _pair(state, f"{name}.kv", 2 * width, width)
    _pair(state, f"{name}.proj", width, width)
    if stage < 4:
        ratio = (8, 4, 2)[stage - 1]
        _pair(state, f"{name}.sr", width, width, ratio, ratio)
        _norm(state, f"{name}.norm", width)


def msa(state, name, width, stage):
    """Write that of step 1 of ShiftAddViT."""
    _pair(state, f"{name}.qkv", 3 * width, width)
    _pair(state, f"{name}.proj", width, width)


def hashed(state, name, width, stage):
    """Write that of step 2: a shared projection, a hash, a filter along the tokens."""
    if stage == 4:
        msa(state, name, width, stage)
        return
    heads = (1, 2, 5)[stage - 1]
    for part in ("to_qk", "to_v", "proj"):
        _pair(state, f"{name}.{part}", width, width)
    state[f"{name}.qk_quant.projection_matrix"] = torch.randn(110, 32)
    state[f"{name}.qk_quant.ksh.A"] = torch.randn(heads, 16, 25)
    state[f"{name}.qk_quant.ksh.mvec"] = torch.randn(1, heads, 1, 25)
    state[f"{name}.qk_quant.ksh.anchor"] = torch.randn(1, heads, 25, 32)
    state[f"{name}.dconv.weight"] = torch.randn(heads, 1, 9, 1)


def routed_attention(state, name, width, stage):
    """Write that of step 3: projections that are mixtures."""
    hashed(state, name, width, stage)
    if stage < 4:
        for entry in ("weight", "bias"):
            state[f"{name}.to_qk.experts.0.{entry}"] = state.pop(f"{name}.to_qk.{entry}")


def linear(state, name, outputs, inputs):
    """Write an ordinary linear layer of an MLP."""
    _pair(state, name, outputs, inputs)


def mixture(noisy):
    """Return what writes a mixture with the one router or the other."""

    def write(state, name, outputs, inputs):
        _pair(state, f"{name}.experts.0", outputs, inputs)
        state[f"{name}.experts.1.shift"] = -14 * torch.rand(outputs, inputs)
        state[f"{name}.experts.1.sign"] = torch.rand(outputs, inputs)
        state[f"{name}.experts.1.bias"] = torch.zeros(outputs)
        if noisy:
            state[f"{name}.gate.w_gate"] = torch.randn(inputs, 2)
            state[f"{name}.gate.w_noise"] = torch.randn(inputs, 2)
        else:
            _pair(state, f"{name}.gate.gate", 2, inputs)

    return write


def step(number, noisy=False):
    """Return PVTv2-B0 after a step of ShiftAddViT; 0 is PVTv2's own, 3 has no mixed attention."""
    attention = (official, msa, hashed, hashed)[number]
    return pvtv2(attention, mixture(noisy) if number == 3 else linear)
