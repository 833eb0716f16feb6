"""State dicts with the names and shapes that reference implementations have, documented there."""

import torch

__all__ = ["adder", "cascade", "fixed", "fixed_cascade", "image_resnet", "norm", "plain",
           "plain_resnet", "resnet", "shift", "vgg19"]


def norm(state, name, channels):
    for part in ("weight", "bias", "running_mean", "running_var"):
        state[f"{name}.{part}"] = torch.rand(channels) + 0.5
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def resnet(inner, edge, shortcut_norm, blocks=1):
    """Return a state of the published ResNet with 6n+2 layers, as the authors' code names it."""
    state = {}
    edge(state, "conv1", (16, 3, 3, 3))
    norm(state, "bn1", 16)
    channels = 16
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(blocks):
            base = f"layer{stage}.{block}"
            inner(state, f"{base}.conv1", (width, channels, 3, 3))
            inner(state, f"{base}.conv2", (width, width, 3, 3))
            for number in (1, 2):
                norm(state, f"{base}.bn{number}", width)
            if channels != width:
                inner(state, f"{base}.downsample", (width, channels, 1, 1), shortcut=True)
                norm(state, f"{base}.downsample.{shortcut_norm}", width)
            channels = width
    edge(state, "fc", (10, 64, 1, 1))
    norm(state, "bn2", 10)
    return state


def plain(state, name, shape):
    state[f"{name}.weight"] = torch.randn(shape)


def adder(state, name, shape, shortcut=False):
    state[f"{name}{'.0' * shortcut}.adder"] = torch.randn(shape)


def shift(state, name, shape):
    state[f"{name}.shift"] = torch.rand(shape) * -14
    state[f"{name}.sign"] = torch.rand(shape) * 2 - 1


def cascade(state, name, shape, shortcut=False):
    shift(state, f"{name}.0", shape)
    state[f"{name}.1.adder"] = torch.randn(shape[0], shape[0], *shape[2:])


def fixed(state, name, shape):
    state[f"{name}.p"] = torch.randint(-7, 1, shape).float()
    state[f"{name}.s"] = torch.randint(-1, 2, shape).float()
    state[f"{name}.weight"] = state[f"{name}.s"] * 2 ** state[f"{name}.p"]
    state[f"{name}.mask"] = (state[f"{name}.weight"] != 0).float()


def fixed_cascade(state, name, shape, shortcut=False):
    fixed(state, f"{name}.0", shape)
    state[f"{name}.1.adder"] = torch.randn(shape[0], shape[0], *shape[2:])


def plain_resnet(layer, blocks, width=16, stages=3, classes=10):
    """DeepShift's CIFAR networks: shortcuts of option A have no tensors."""
    state = {}
    layer(state, "conv1", (width, 3, 3, 3))
    norm(state, "bn1", width)
    channels = width
    for stage in range(1, stages + 1):
        for block in range(blocks):
            base = f"layer{stage}.{block}"
            layer(state, f"{base}.conv1", (width, channels, 3, 3))
            norm(state, f"{base}.bn1", width)
            layer(state, f"{base}.conv2", (width, width, 3, 3))
            norm(state, f"{base}.bn2", width)
            channels = width
        width *= 2
    layer(state, "linear", (classes, channels))
    state["linear.bias"] = torch.randn(classes)
    return state


def image_resnet(inner, edge, kernels, blocks, width, expansion, classes, last_norm=True):
    """Networks for large images; the layer on a shortcut has the names of `inner` below 0."""
    state = {}
    edge(state, "conv1", (width, 3, 7, 7))
    norm(state, "bn1", width)
    channels = width
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            base, inputs, wide = f"layer{stage}.{block}", channels, width * expansion
            for number, kernel in enumerate(kernels, 1):
                outputs = wide if number == len(kernels) else width
                inner(state, f"{base}.conv{number}", (outputs, inputs, kernel, kernel))
                norm(state, f"{base}.bn{number}", outputs)
                inputs = outputs
            if block == 0 and (stage > 1 or channels != wide):
                inner(state, f"{base}.downsample.0", (wide, channels, 1, 1))
                norm(state, f"{base}.downsample.1", wide)
            channels = wide
        width *= 2
    edge(state, "fc", (classes, channels, 1, 1) if last_norm else (classes, channels))
    state["fc.bias"] = torch.randn(classes)
    if last_norm:
        norm(state, "bn2", classes)
    return state


def vgg19(inner, shrink=1, classes=10):
    """ShiftAddNet's small VGG-19, whose linear layers stay ordinary."""
    state, place, channels = {}, 0, 3
    for width, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            inner(state, f"features.{place}", (width // shrink, channels, 3, 3))
            norm(state, f"features.{place + 1}", width // shrink)
            channels, place = width // shrink, place + 3
        place += 1
    for name, outputs in (("classifier.0", channels), ("classifier.2", classes)):
        plain(state, name, (outputs, channels))
        state[f"{name}.bias"] = torch.randn(outputs)
    return state
