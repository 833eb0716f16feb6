"""A few digits to train on, and how to compare what came of it."""

import torch

from pyhw.training.data import Dataset, load_digits
from pyhw.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch=16)


def few_digits():
    digits = load_digits()
    return Dataset(
        name="digits",
        train_images=digits.train_images[:100],
        train_labels=digits.train_labels[:100],
        test_images=digits.test_images[:50],
        test_labels=digits.test_labels[:50],
    )


def weights(trainer):
    return [tensor.clone() for tensor in trainer.model.state_dict().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
