"""The examples and figures of docs/transformers.md, section "Layers and models"."""

import re

import torch

from pyhw.nn import MODELS, build_model
from tests.support import ROOT

PAGE = (ROOT / "docs/transformers.md").read_text(encoding="utf-8")
LAYERS = PAGE[PAGE.index("## Layers and models") :]


def test_weights_of_networks_are_as_written():
    rows = re.findall(r"^\| (`[^|]*) \| \d+ x \d+ \| ([^|]*) \|$", LAYERS, re.M)
    told = {}
    for names, weights in rows:
        counts = [int(text.replace(",", "")) for text in re.findall(r"\d[\d,]*\d", weights)]
        told |= dict(zip(re.findall(r"`([^`]*)`", names), counts, strict=True))
    assert set(told) == {name for name, network in MODELS.items() if network.kinds[0] == "conv"}
    for name, count in told.items():
        with torch.device("meta"):
            model = build_model(name)
        assert sum(p.numel() for p in model.parameters()) == count


def test_the_example_of_a_network_of_ones_own_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", LAYERS, re.S)
    exec(compile(example, "transformers.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("0.self_attn MultiheadAttention -> BinaryLinearAttention")
    assert lines[-1].startswith("0.linear2 Linear -> Mixture")
    assert len(lines) == 5
