import pytest
import torch
from torch import nn

from pyhw.nn import MODELS, LayerOptions, build_model
from pyhw.nn.attention import SoftmaxAttention
from pyhw.nn.kinds import Layers
from pyhw.nn.tokens import Permutation
from pyhw.training.layers import layer_sizes


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(name, **options):
    with torch.device("meta"):
        return build_model(name, layers=LayerOptions(**options))


@pytest.mark.parametrize(
    ("name", "total", "blocks", "projections"),
    [
        ("sret-t", 4_755_979, (46_634, 184_912, 736_925), (8_450, 33_282, 132_098)),
        ("sret-lt", 4_988_024, (49_988, 198_276, 789_764), (8_450, 33_282, 132_098)),
        ("sret-s", 20_899_692, (160_276, 638_068, 2_546_212), (64_136, 255_278, 1_018_586)),
    ],
)
@pytest.mark.parametrize("sliced", [True, False])
def test_parameters_are_the_published_ones(name, total, blocks, projections, sliced):
    model = on_meta(name, sliced=sliced)
    assert parameters(model) == total
    for stage, block, projection in zip(model.stages, blocks, projections, strict=True):
        assert parameters(stage[1].block) == block
        assert [parameters(after) for after in stage[1].after] == [projection] * 2


@pytest.mark.parametrize(
    ("name", "sliced", "total"),
    [("sret-t", True, 1.112), ("sret-t", False, 1.366), ("sret-lt", True, 1.164),
     ("sret-s", True, 4.173), ("sret-s", False, 4.671)],
)  # fmt: skip
def test_products_are_the_published_ones(name, sliced, total):
    with torch.device("meta"):
        model = build_model(name, layers=LayerOptions(sliced=sliced)).eval()
    sizes = layer_sizes(model, (3, 224, 224))
    assert sum(size.products for size in sizes) / 1e9 == pytest.approx(total, abs=5e-4)
    assert sum(size.parameters for size in sizes) == parameters(model)


def test_sret_cifar_has_at_most_450_thousand_weights():
    assert parameters(on_meta("sret-cifar")) <= 450_000


@pytest.mark.parametrize("name", ["sret-cifar", "sret-mnist"])
@pytest.mark.parametrize("ops", ["conv", "shift-ps", "shift-q"])
def test_small_networks_give_logits_and_gradients(name, ops):
    torch.manual_seed(0)
    model = build_model(name, ops)
    answers = model(torch.rand(2, *MODELS[name].input_shape))
    assert answers.shape == (2, 10)
    answers.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_frozen_order_gives_the_same_answers_from_a_saved_state():
    torch.manual_seed(0)
    model = build_model("sret-mnist").eval()
    other = build_model("sret-mnist").eval()
    x = torch.rand(2, 1, 28, 28)
    first = model(x)
    assert not torch.equal(other(x), first)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), first)
    assert torch.equal(model(x), first)


def test_only_sliced_second_loops_have_an_order():
    orders = [
        [type(order) is Permutation for order in recursion.block.attn.orders]
        for recursion in on_meta("sret-t").modules() if hasattr(recursion, "after")
    ]  # fmt: skip
    assert orders == [[False, True]] * 2 + [[False, False]] * 8
    assert not any(isinstance(m, Permutation) for m in on_meta("sret-t", sliced=False).modules())


def reference(attention, x, slices):
    """Attend slice by slice and head by head, as the equation says."""
    tokens, channels = x.shape[1:]
    wide = channels // 2
    q, k, v = attention.qkv(x).split(channels, -1)
    y = torch.empty_like(x)
    for low in range(0, tokens, tokens // slices):
        part = slice(low, low + tokens // slices)
        for head in (slice(0, wide), slice(wide, channels)):
            scores = q[:, part, head] @ k[:, part, head].mT / wide**0.5
            y[:, part, head] = scores.softmax(-1) @ v[:, part, head]
    return attention.proj(y)


def test_slices_attend_within_themselves_and_in_another_order_the_second_time():
    torch.manual_seed(1)
    attention = SoftmaxAttention(Layers("conv"), 8, 2, 12, (3, 4))
    x = torch.rand(2, 12, 8)
    torch.testing.assert_close(attention(x), reference(attention, x, 3))
    order = attention.orders[1].order
    moved = reference(attention, x[:, order], 4)
    back = torch.empty_like(moved)
    back[:, order] = moved
    torch.testing.assert_close(attention(x, 1), back)


def test_one_block_runs_twice_with_projections_of_its_own():
    model = build_model("sret-mnist")
    seen = []
    recursion = model.stages[0][1]
    for part in (recursion.block, *recursion.after):
        part.register_forward_hook(lambda module, inputs, output: seen.append(module))
    model(torch.rand(2, 1, 28, 28))
    assert seen == [recursion.block, recursion.after[0], recursion.block, recursion.after[1]]


@pytest.mark.parametrize(
    ("tokens", "slices", "heads", "told"),
    [
        (49, 4, 2, "slices must divide the 49 tokens, not be 4"),
        (48, 4, 3, "heads must divide the 8 channels, not be 3"),
        (48, 0, 2, "slices must divide the 48 tokens, not be 0"),
    ],
)
def test_parts_that_do_not_divide_are_refused(tokens, slices, heads, told):
    with pytest.raises(ValueError, match=told):
        SoftmaxAttention(Layers("conv"), 8, heads, tokens, (slices,))


def test_layers_that_need_batch_norms_are_refused():
    with pytest.raises(ValueError, match="adder layers need: choose one of conv, shift-ps"):
        build_model("sret-mnist", "adder")


def test_layer_norms_scales_and_positions_do_not_decay():
    from pyhw.nn import parameter_groups

    model = build_model("sret-mnist")
    decayed, free = parameter_groups(model, 0.05)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    norms = sum(parameters(m) for m in model.modules() if isinstance(m, nn.LayerNorm))
    assert sum(p.numel() for p in free["params"]) == norms + 2 * (4 + 2 * 2) + 32 * 7 * 7
