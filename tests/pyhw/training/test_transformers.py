import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pyhw.errors import UserError
from pyhw.nn.mixture import routers
from pyhw.training.augment import blend
from pyhw.training.checkpoint import load_checkpoint, save_checkpoint
from pyhw.training.data import Dataset
from pyhw.training.loop import Trainer
from pyhw.training.recipe import make_recipe
from pyhw.training.run import prepare, run


def few(images=32):
    rng = np.random.default_rng(0)
    return Dataset(
        name="digits",
        train_images=rng.integers(0, 256, (images, 28, 28), dtype=np.uint8),
        train_labels=rng.integers(0, 10, images),
        test_images=rng.integers(0, 256, (8, 28, 28), dtype=np.uint8),
        test_labels=rng.integers(0, 10, 8),
    )


def test_a_transformer_is_trained_by_its_own_recipe():
    made = make_recipe(model="sret-mnist", data="mnist")
    assert (made.ops, made.optimizer, made.warmup, made.smoothing) == ("conv", "adamw", 3.75, 0.1)
    assert make_recipe(model="sret-mnist", data="mnist", epochs=40).warmup == 5
    assert make_recipe(model="lenet5", data="mnist").optimizer == "sgd"


def test_the_learning_rate_rises_in_warm_up_and_falls_after():
    made = make_recipe(model="sret-mnist", epochs=20, warmup=4.0, lr=0.01)
    assert made.lr_at(0) == 0
    assert made.lr_at(1) == pytest.approx(0.0025)
    assert made.lr_at(4) == 0.01
    assert made.lr_at(12) == pytest.approx(0.005)
    assert made.lr_at(20) == pytest.approx(0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": "sret-mnist", "ops": "adder"}, "sret-mnist has no batch norm"),
        ({"model": "lenet5", "loops": 3}, "loops is an option of sret-t"),
        ({"model": "sret-mnist", "loops": 5}, "loops must be a whole number from 1 to 4, not 5"),
        ({"model": "sret-mnist", "warmup": 40.0}, "warmup must be below the 40 epochs, not 40"),
        ({"model": "sret-mnist", "smoothing": 1.0}, "smoothing must be at least 0 and below 1"),
        ({"model": "sret-mnist", "drop_path": -0.1}, "drop_path must be at least 0 and below 1"),
        ({"model": "lenet5", "mixup": 0.2, "teacher": True}, "mixup blends labels"),
        ({"model": "lenet5", "smoothing": 0.2, "teacher": True}, "smoothing is of labels"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, told):
    with pytest.raises(UserError, match=told):
        make_recipe(**options)


def test_mixup_blends_images_with_others_of_the_batch():
    x = torch.rand(6, 1, 4, 4)
    mixed, order, share = blend(x, 0.8, torch.Generator().manual_seed(3))
    assert 0.5 <= share < 1
    assert sorted(order.tolist()) == list(range(6))
    torch.testing.assert_close(mixed, share * x + (1 - share) * x[order])


def test_a_blended_batch_is_taken_for_both_labels():
    recipe = make_recipe(model="sret-mnist", batch=16, epochs=1, mixup=1.0, smoothing=0.1)
    trainer = Trainer(recipe, few())
    images, wanted = next(trainer._batches(0))
    answers = torch.rand(len(images), 10)
    spread = [
        0.9 * F.one_hot(labels, 10) + 0.01 for labels in (wanted.labels, wanted.other)
    ]
    goal = wanted.share * spread[0] + (1 - wanted.share) * spread[1]
    torch.testing.assert_close(wanted.loss(answers, 0.1), F.cross_entropy(answers, goal))


def test_a_resumed_training_draws_what_an_unbroken_one_draws():
    recipe = make_recipe(
        model="sret-mnist", batch=16, epochs=2, lr=1e-3, drop_path=0.5, mixup=0.8
    )
    whole, first, second = (Trainer(recipe, few()) for _ in range(3))
    for _ in range(2):
        whole.run_epoch()
    first.run_epoch()
    torch.rand(3)  # whatever is drawn in between
    second.restore(first.model.state_dict(), first.optimizer.state_dict(), first.history)
    second.run_epoch()
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


# --- beginnings: another network's weights, a teacher


def checkpoint(path, **options):
    recipe = make_recipe(data="digits", batch=16, epochs=1, **options)
    trainer = Trainer(recipe, few())
    trainer.run_epoch()
    save_checkpoint(path, trainer.model, recipe, trainer.history)
    return str(path)


def test_the_steps_of_shiftaddvit_start_from_each_other(tmp_path):
    first = checkpoint(tmp_path / "vit.pt", model="shiftaddvit-mnist")
    trainer, _ = prepare(
        tmp_path / "linear.pt", model="shiftaddvit-mnist", attention="linear", start=first,
        epochs=1, images=32, batch=16,
    )  # fmt: skip
    old, _ = load_checkpoint(first)
    assert torch.equal(trainer.model.block1[0].attn.qkv.weight, old.block1[0].attn.qkv.weight)
    run(trainer, tmp_path / "linear.pt")
    model, meta = load_checkpoint(tmp_path / "linear.pt")
    assert meta.recipe.layers.attention == "linear"
    assert f"--start {first}" in meta.recipe.command()
    mixed, _ = prepare(
        tmp_path / "moe.pt", model="shiftaddvit-mnist", attention="shiftadd", mlp="moe",
        start=str(tmp_path / "linear.pt"), epochs=1, images=32, batch=16,
    )  # fmt: skip
    thresholds = mixed.model.block1[0].attn.binarise_q.threshold
    assert torch.equal(thresholds, model.block1[0].attn.binarise_q.threshold)


def test_routers_learn_by_the_balance_of_latencies():
    gates = []
    for balance in (0.0, 5.0):
        recipe = make_recipe(
            model="shiftaddvit-mnist", mlp="moe", latency_ratio=4.0, balance=balance, epochs=1,
            batch=16,
        )  # fmt: skip
        trainer = Trainer(recipe, few())
        assert {router.latencies for router in routers(trainer.model).values()} == {(4.0, 1.0)}
        images, wanted = next(trainer._batches(0))
        torch.manual_seed(0)
        trainer._step(images, wanted)
        gates.append(trainer.model.block1[0].mlp.fc1.router.gate.weight.grad)
    assert (gates[1] - gates[0]).norm() > gates[0].norm()


def test_a_teachers_answers_take_the_place_of_labels(tmp_path):
    teacher = checkpoint(tmp_path / "teacher.pt", model="lenet5", ops="conv")
    out = tmp_path / "student.pt"
    options = dict(
        model="sret-mnist", learn_from=teacher, temperature=2.0, epochs=2, images=32, batch=16
    )
    trainer, _ = prepare(out, **options)
    images, wanted = next(trainer._batches(0))
    lesson = (load_checkpoint(teacher)[0](images) / 2).softmax(1)
    goal = -(lesson * (trainer.model.train()(images) / 2).log_softmax(1)).sum(1).mean()
    assert trainer._step(images, wanted).item() == pytest.approx(goal.item(), rel=1e-4)
    trainer, _ = prepare(out, **options)
    trainer.run_epoch()
    save_checkpoint(out, trainer.model, trainer.recipe, trainer.history, trainer.optimizer)
    resumed, _ = prepare(out, resume=True)
    assert resumed.teacher is not None
    assert not any(p.requires_grad for p in resumed.teacher.parameters())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"start": "missing.pt"}, "missing.pt does not exist"),
        ({"start": "lenet.pt"}, "start: .*lenet.pt is lenet1, not sret-mnist"),
        ({"learn_from": "vit.pt", "data": "mnist"}, "was trained on digits, not on mnist"),
        ({"learn_from": "lenet.pt", "smoothing": 0.2}, "smoothing is of labels"),
        ({"temperature": 2.0}, "temperature is of a teacher's answers: add --learn-from"),
        ({"attention": "linear"}, "attention of sret-mnist must be one of softmax, log2"),
        ({"mlp": "moe"}, "mlp is an option of pvtv2-b0"),
        ({"balance": 0.1}, "balance, latency_ratio and gate_scale are for routers: add --mlp moe"),
    ],
)
def test_beginnings_that_do_not_fit_are_refused(tmp_path, options, told):
    checkpoint(tmp_path / "lenet.pt", model="lenet1", ops="conv")
    checkpoint(tmp_path / "vit.pt", model="sret-mnist")
    for name in ("start", "learn_from"):
        if name in options:
            options = options | {name: str(tmp_path / options[name])}
    with pytest.raises(UserError, match=told):
        prepare(tmp_path / "out.pt", model="sret-mnist", **options)
