"""From a plain CNN to an integer graph, in half a minute: convert, train briefly, quantise.

``python docs/convert_your_cnn.py [KIND] [EPOCHS]``: a kind of layers of ``docs/methods.md``, adder
by default. Needs ``pip install '.[train]'`` in pyhw's folder. Put your own model in the place of
`Net` and your own images in the place of the digits; what can be read is in
``docs/quantization.md``.
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyhw.graph.execute import predict
from pyhw.graph.file import save
from pyhw.nn import convert, parameter_groups
from pyhw.quantizer.model import quantize_model
from pyhw.training.data import load_dataset


class Net(nn.Module):
    """An ordinary CNN with a residual connection, as one would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv1 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 10) of images (N, 1, 28, 28) in 0..1."""
        x = F.relu(self.norm1(self.stem(x)))
        x = F.relu(self.norm2(self.conv1(x)) + x)
        x = F.relu(self.norm3(self.conv2(x)))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def main(kind: str = "adder", epochs: int = 20) -> float:
    """Convert, train on scikit-learn's digits, quantise; return the integers' accuracy, percent."""
    torch.manual_seed(0)
    model = Net()
    for layer in convert(model, kind):
        print(f"{layer.path}: {layer.before} -> {layer.after} ({layer.note})")

    digits = load_dataset("digits")
    images = torch.tensor(digits.train_images[:, None]) / 255
    labels = torch.tensor(digits.train_labels)
    optimizer = torch.optim.SGD(parameter_groups(model, 5e-4), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        for batch in torch.randperm(len(labels)).split(64):
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        print(f"epoch {epoch + 1}/{epochs}  loss {loss.item():.3f}")

    model.eval()
    test, right = digits.test_images, digits.test_labels
    with torch.no_grad():
        guesses = model(torch.tensor(test[:, None]) / 255).argmax(1).numpy()
    graph = quantize_model(model, digits.train_images[:512], name="my_cnn").graph
    integers = 100 * float((predict(graph, test[..., None].astype("int64")) == right).mean())
    print(f"test accuracy: float {100 * (guesses == right).mean():.2f} %, 8-bit {integers:.2f} %")
    save(graph, "my_cnn.pyhw")
    print("my_cnn.pyhw: look into it with `pyhw info`, go on with `pyhw compile`")
    return integers


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
