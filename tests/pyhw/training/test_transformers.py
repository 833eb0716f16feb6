import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pyhw.errors import UserError
from pyhw.training.augment import blend
from pyhw.training.data import Dataset
from pyhw.training.loop import Trainer
from pyhw.training.recipe import make_recipe


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
