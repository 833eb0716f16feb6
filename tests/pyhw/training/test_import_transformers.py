"""Checkpoints of SReT, PVT and ShiftAddViT: documented names and shapes become pyhw's."""

import pytest
import torch

from pyhw.errors import UserError
from pyhw.nn.mixture import routers
from pyhw.nn.models import build_model
from pyhw.training.checkpoint import load_checkpoint
from pyhw.training.importer import import_checkpoint
from tests.support import their_transformers as theirs


@pytest.fixture
def bring(tmp_path):
    def run(state, source, model, **options):
        torch.save({"model": state}, tmp_path / "their.pth")
        out = tmp_path / "a.pt"
        found = import_checkpoint(tmp_path / "their.pth", source, model, out, **options)
        return found, load_checkpoint(out)[0]

    return run


def test_sret_holds_shared_blocks_once(bring):
    state = theirs.sret()
    found, model = bring(state, "sret", "sret-t")
    assert sum(p.numel() for p in model.parameters()) == 4_755_979
    block = model.stages[1][5].block
    assert torch.equal(block.attn.qkv.weight, state["transformers.1.blocks.18.attn.qkv.weight"])
    after = model.stages[2][2].after[1]
    assert torch.equal(after.mlp.fc2.bias, state["transformers.2.blocks.7.mlp.fc2.bias"])
    scale = model.stages[0][1].block.coefficient3.scale
    assert torch.equal(scale, state["transformers.0.blocks.2.coefficient3.bias"])
    assert torch.equal(model.pos_embed.embedding, state["pos_embed"])
    assert len(found.origin.mean) == 3
    torch.manual_seed(0)  # the order of slices, which files do not hold, is the same each time
    order = build_model("sret-t").stages[0][1].block.attn.orders[1].order
    assert torch.equal(model.stages[0][1].block.attn.orders[1].order, order)
    names = {ours: name for name, ours in found.matched}
    assert names["stages.0.1.block.norm1.bias"] == (
        "transformers.0.blocks.0.norm1.bias = transformers.0.blocks.2.norm1.bias"
    )


@pytest.mark.parametrize("change", ["differ", "lack"])
def test_a_shared_block_that_is_not_shared_is_refused(bring, change):
    state, name = theirs.sret(), "transformers.1.blocks.6.mlp.fc1.weight"
    if change == "differ":
        state[name] = state[name] + 1
        told = r"transformers.1.blocks.4.mlp.fc1.weight and transformers.1.blocks.6.* must be equal"
    else:
        del state[name]
        told = f"the file lacks {name}, the second entry of a shared block"
    with pytest.raises(UserError, match=told):
        bring(state, "sret", "sret-t")


def test_pvtv2_of_its_authors_is_read_whole(bring):
    state = theirs.step(0)
    _, model = bring(state, "pvt", "pvtv2-b0")
    assert torch.equal(model.block2[1].attn.sr.weight, state["block2.1.attn.sr.weight"])
    assert torch.equal(model.block3[0].mlp.dwconv.bias, state["block3.0.mlp.dwconv.dwconv.bias"])


def test_step_one_of_shiftaddvit_has_attention_without_reduction(bring):
    state = theirs.step(1)
    found, model = bring(state, "shiftaddvit", "pvtv2-b0")
    assert found.recipe.layers.attention == "msa"
    assert torch.equal(model.block4[1].attn.qkv.weight, state["block4.1.attn.qkv.weight"])


def test_step_two_is_taken_without_its_hash_when_asked(bring):
    state = theirs.step(2)
    with pytest.raises(UserError, match=r"block1.0.attn.qk_quant.ksh.A is of a Gaussian hash.*--"):
        bring(state, "shiftaddvit", "pvtv2-b0")
    found, model = bring(state, "shiftaddvit", "pvtv2-b0", lossy=True)
    assert found.recipe.layers.attention == "linear"
    query, key, value = model.block1[0].attn.qkv.weight.chunk(3)
    assert torch.equal(query, state["block1.0.attn.to_qk.weight"])
    assert torch.equal(key, query)
    assert torch.equal(value, state["block1.0.attn.to_v.weight"])
    assert torch.equal(model.block3[1].attn.dconv.weight, state["block3.1.attn.dconv.weight"])
    assert "block2.0.attn.qk_quant.ksh.mvec" in found.ignored


@pytest.mark.parametrize("noisy", [False, True])
def test_mixtures_are_read_with_either_router(bring, noisy):
    state = theirs.step(3, noisy)
    found, model = bring(state, "shiftaddvit", "pvtv2-b0", lossy=True)
    assert found.recipe.layers.mlp == "moe"
    fc1 = model.block4[0].mlp.fc1
    assert torch.equal(fc1.experts[1].sign, state["block4.0.mlp.fc1.experts.1.sign"])
    wanted = state["block4.0.mlp.fc1.gate.w_gate"].T if noisy else (
        state["block4.0.mlp.fc1.gate.gate.weight"])  # fmt: skip
    assert torch.equal(fc1.router.gate.weight, wanted)
    assert {router.scale for router in routers(model).values()} == {noisy}


def test_mixtures_in_attention_are_refused(bring):
    state = theirs.pvtv2(theirs.routed_attention, theirs.linear)
    with pytest.raises(UserError, match=r"to_qk.experts.0.weight: projections of attention as mix"):
        bring(state, "shiftaddvit", "pvtv2-b0", lossy=True)
