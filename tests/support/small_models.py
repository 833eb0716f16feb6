"""Small torch models with plausible statistics, and how far a quantised one is from them."""

import numpy as np
import torch
from torch import nn

from pyhw.graph.execute import run
from pyhw.quantizer.model import quantize_model


def smooth_images(count, shape, seed=0):
    """Smooth bytes that use the whole range."""
    generator = np.random.default_rng(seed)
    height, width, channels = shape
    waves = generator.normal(size=(count, 3, 3, channels))
    image = np.repeat(np.repeat(waves, -(-height // 3), 1), -(-width // 3), 2)[:, :height, :width]
    return (128 + 60 * image + generator.normal(size=image.shape) * 10).clip(0, 255).astype("u1")


def trained(model, shape, seed=0):
    """Give batch norms statistics that fit and every parameter a spread, as training does."""
    torch.manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            if layer.affine:
                nn.init.normal_(layer.weight, 1.0, 0.5)  # some negative
                nn.init.normal_(layer.bias, 0.3, 0.5)
            layer.momentum = None
    with torch.no_grad():
        for seed in range(4):
            model.train()(to_tensor(smooth_images(32, shape, 100 + seed)))
    return model.eval()


def to_tensor(images):
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 255  # (N, H, W, C) -> (N, C, H, W)


def model_output(model, images):
    with torch.no_grad():
        y = model(to_tensor(images)).double().numpy()
    return y if y.ndim == 2 else np.moveaxis(y, 1, 3)


def quantised_error(model, shape, settings=None, **options):
    """Quantise on some images; error of the outputs on others over the outputs' spread."""
    trained(model, shape)
    made = quantize_model(model, smooth_images(64, shape, 1), settings, **options)
    other = smooth_images(32, shape, 2)
    wanted = model_output(model, other)
    found = run(made.graph, other.astype(np.int64)) * made.layers[-1].scale
    return float(np.sqrt(np.mean((found.reshape(wanted.shape) - wanted) ** 2)) / wanted.std()), made


def sequence(*layers):
    return nn.Sequential(*layers)
