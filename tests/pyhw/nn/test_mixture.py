import pytest
import torch
from torch import nn

from pyhw.nn.mixture import Mixture, Router, balance_loss, expert_shares


def mixture(scale=True, latencies=(6.0, 4.0)):
    torch.manual_seed(0)
    return Mixture(4, (nn.Linear(4, 3), nn.Linear(4, 3)), latencies, scale)


def test_each_token_takes_the_expert_of_its_largest_probability():
    model = mixture().eval()
    x = torch.randn(2, 7, 4)
    shares = model.router.gate(x).softmax(-1)
    y = model(x)
    for image in range(2):
        for token in range(7):
            best = int(shares[image, token].argmax())
            wanted = shares[image, token, best] * model.experts[best](x[image, token])
            torch.testing.assert_close(y[image, token], wanted)


def test_without_scale_a_token_gets_its_expert_and_the_router_still_learns():
    model = mixture(scale=False)
    x = torch.randn(2, 7, 4)
    y = model.eval()(x)
    chosen = model.router.gate(x).argmax(-1)
    both = torch.stack([expert(x) for expert in model.experts], -2)
    torch.testing.assert_close(y, both[torch.arange(2)[:, None], torch.arange(7), chosen])
    model.train()(x).square().sum().backward()
    assert model.router.gate.weight.grad.abs().sum() > 0


def test_a_tie_goes_to_the_first_expert():
    router = Router(4).eval()
    for parameter in router.parameters():
        parameter.data.zero_()
    assert torch.equal(router(torch.randn(3, 4)), torch.tensor([[0.5, 0.0]] * 3))


def test_the_loss_is_none_without_routers_and_fair_at_the_ratio_of_latencies():
    assert balance_loss(nn.Linear(2, 2)) is None
    router = Router(1, latencies=(6.0, 4.0))
    with torch.no_grad():
        # Two kinds of tokens, far apart, so that probabilities and chances are 0 or 1.
        router.gate.weight.copy_(torch.tensor([[50.0], [-50.0]]))
        router.gate.bias.zero_()
    fair, uneven = (torch.tensor([1.0] * m + [-1.0] * s)[:, None] for m, s in ((4, 6), (9, 1)))
    router(fair)
    assert router.loss.item() == pytest.approx(0, abs=1e-6)
    router(uneven)
    costs = torch.tensor([54.0, 4.0])
    assert router.loss.item() == pytest.approx(2 * (costs.var() / costs.mean() ** 2).item())


def test_load_is_the_chance_of_being_chosen_under_fresh_noise():
    torch.manual_seed(0)
    router = Router(1, latencies=(1.0, 1.0))
    x = torch.full((20000, 1), 0.3)
    with torch.no_grad():
        router.gate.weight.copy_(torch.tensor([[1.0], [0.0]]))
        router.gate.bias.zero_()
    taken = router(x)[:, 0].gt(0).float().mean()
    # The difference of two such noises has a deviation of sqrt(2) / 2.
    chance = torch.special.ndtr(torch.tensor(0.3 / 0.5**0.5))
    assert taken == pytest.approx(chance.item(), abs=0.02)
    share = torch.tensor([0.3, 0.0]).softmax(0)
    loads = torch.stack((chance, 1 - chance))
    wanted = sum((c.var() / c.mean() ** 2).item() for c in (share, loads))
    assert router.loss.item() == pytest.approx(wanted, rel=0.1)


def test_shares_of_tokens_are_counted_by_router():
    model = nn.Sequential(mixture())
    x = torch.randn(2, 7, 4)
    first = (model[0].router.gate(x).argmax(-1) == 0).double().mean().item()
    assert expert_shares(model, x)["0.router"] == pytest.approx((first, 1 - first))


@pytest.mark.parametrize(
    ("experts", "latencies", "told"),
    [
        (1, (1.0,), "a router must have at least 2 experts to choose from, not 1"),
        (2, (1.0,), "latencies must be 2 numbers above 0"),
        (2, (1.0, 0.0), "latencies must be 2 numbers above 0"),
    ],
)
def test_a_router_without_a_choice_is_refused(experts, latencies, told):
    with pytest.raises(ValueError, match=told):
        Router(4, experts, latencies)
