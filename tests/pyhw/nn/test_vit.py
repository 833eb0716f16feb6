"""Vision transformers of one's own, built as users build them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pyhw.errors import UserError
from pyhw.nn import ShiftLinear
from pyhw.nn.attention import BinaryLinearAttention, SoftmaxAttention
from pyhw.nn.mixture import Mixture
from pyhw.nn.vit import convert_vit


class TimmAttention(nn.Module):
    def __init__(self, dim=8, heads=2):
        super().__init__()
        self.num_heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        y = (q @ k.mT * self.scale).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, dim))


class TimmBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(8), TimmAttention(), nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Functional(nn.Module):
    def __init__(self, causal=False):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.causal = causal

    def forward(self, x):
        parts = (self.q(x), self.k(x), self.v(x))
        q, k, v = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return y.transpose(1, 2).flatten(2)


def encoder(batch_first=True):
    return nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first, norm_first=True)
    )


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_same_attention_in_the_place_of_torchs_computes_the_same(batch_first):
    torch.manual_seed(0)
    model, x = encoder(batch_first).eval(), torch.randn(3, 5, 8)
    before = model(x)
    after, report = convert_vit(model, attention="softmax")
    assert [(entry.path, entry.before, entry.after) for entry in report] == [
        ("0.self_attn", "MultiheadAttention", "SoftmaxAttention")
    ]
    torch.testing.assert_close(after(x), before)


def test_a_block_of_timms_form_computes_the_same():
    torch.manual_seed(0)
    model, x = nn.Sequential(TimmBlock(), TimmBlock()).eval(), torch.randn(3, 5, 8)
    before = model(x)
    after, report = convert_vit(model, attention="softmax")
    assert [entry.path for entry in report] == ["0.attn", "1.attn"]
    assert type(after[0].attn) is SoftmaxAttention
    torch.testing.assert_close(after(x), before)


def test_calls_of_attention_become_modules():
    torch.manual_seed(0)
    model, x = nn.Sequential(Functional(), Functional()).eval(), torch.randn(3, 5, 8)
    before = model(x)
    after, report = convert_vit(model, attention="softmax", images=x)
    assert [entry.before for entry in report] == ["scaled_dot_product_attention"] * 2
    torch.testing.assert_close(after(x), before)
    other, _ = convert_vit(nn.Sequential(Functional()), attention="linear", images=x)
    other.train()(x).sum().backward()
    assert other.get_submodule("attention0").core.dconv.weight.grad is not None


def test_the_published_steps_one_after_the_other():
    torch.manual_seed(0)
    model, x = nn.Sequential(TimmBlock()), torch.randn(3, 5, 8)
    qkv, fc1 = model[0].attn.qkv.weight.clone(), model[0].mlp[0].weight.clone()
    model, _ = convert_vit(model, attention="linear")
    assert type(model[0].attn) is BinaryLinearAttention
    assert torch.equal(model[0].attn.qkv.weight, qkv)
    model, report = convert_vit(model, projections="shift")
    assert [entry.path for entry in report] == ["0.attn.qkv", "0.attn.proj"]
    assert type(model[0].attn.proj) is ShiftLinear
    model, report = convert_vit(model, mlp="moe")
    assert [entry.path for entry in report] == ["0.mlp.0", "0.mlp.2"]
    assert type(model[0].mlp[0]) is Mixture
    assert torch.equal(model[0].mlp[0].experts[0].weight, fc1)
    model(x).sum().backward()
    assert model(x).shape == x.shape


def test_mlps_of_encoder_layers_become_shift_layers():
    model, report = convert_vit(encoder(), attention="linear", projections="shift", mlp="shift")
    assert [entry.after for entry in report] == ["BinaryLinearAttention"] + ["ShiftLinear"] * 4
    assert model.eval()(torch.randn(2, 5, 8)).shape == (2, 5, 8)


def test_what_cannot_be_converted_is_refused_by_path():
    x = torch.randn(2, 5, 8)
    with pytest.raises(UserError, match="the model has no attention"):
        convert_vit(nn.Sequential(nn.Linear(8, 8)), attention="linear")
    with pytest.raises(UserError, match="take the step `attention` first"):
        convert_vit(nn.Sequential(TimmBlock()), projections="shift")
    with pytest.raises(UserError, match="the model has no MLP"):
        convert_vit(nn.Sequential(TimmAttention()), mlp="moe")
    other = nn.Sequential(nn.MultiheadAttention(8, 2, kdim=4))
    with pytest.raises(UserError, match=r"0 .MultiheadAttention.: keys and values of their own"):
        convert_vit(other, attention="linear")
    lame = nn.Sequential(TimmAttention())
    del lame[0].num_heads
    with pytest.raises(UserError, match=r"0 .Timm.*: it has qkv and proj, but no num_heads"):
        convert_vit(lame, attention="linear")
    with pytest.raises(UserError, match="attention masks are not supported"):
        convert_vit(nn.Sequential(Functional(causal=True)), attention="linear", images=x)
    with pytest.raises(ValueError, match="mlp must be one of shift, moe, not 'dense'"):
        convert_vit(encoder(), mlp="dense")


def test_masks_and_cross_attention_are_refused_when_called():
    model, _ = convert_vit(encoder().eval(), attention="softmax")
    x = torch.randn(2, 5, 8)
    with pytest.raises(UserError, match="attention masks are not supported"):
        model[0](x, src_mask=torch.zeros(5, 5))
    with pytest.raises(UserError, match="cross attention is not supported"):
        model[0].self_attn(x, x.clone(), x)
