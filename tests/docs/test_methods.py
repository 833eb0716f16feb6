"""The examples and figures of docs/methods.md."""

import re

import pytest

from pyhw.nn import OPS, LayerOptions, build_model, compact
from tests.pyhw.nn.test_models import SIZES
from tests.support import ROOT

PAGE = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("import ")[-1].split()[0])
def test_examples_run(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "methods.md", "exec"), {})
    if "convert" in example:
        lines = capsys.readouterr().out.splitlines()
        assert lines == [
            "0 Conv2d -> Conv2d (first or last layer)",
            "3 Conv2d -> AdderConv2d (fresh weights)",
            "8 Linear -> Linear (first or last layer)",
        ]


def test_every_kind_and_option_is_described():
    both = PAGE + (ROOT / "docs/transformers.md").read_text(encoding="utf-8")
    for name in (*OPS, *vars(LayerOptions())):
        assert f"`{name}`" in both


@pytest.mark.parametrize("sharing", ["dense", "one-layer", "mp", "rp"])
def test_stored_bytes_are_as_written(sharing):
    fraction = 0.01 if sharing == "rp" else 1.0
    options = LayerOptions(sharing=sharing, fraction=fraction)
    masks = compact(build_model("convmixer-256-6", "pemn", layers=options))
    row = next(line for line in PAGE.splitlines() if line.startswith(f'| `"{sharing}"`'))
    share = 100 * masks.stored_bytes / (4 * 437_248)
    for text in (f"{masks.values:,} B", f"{masks.stored_bytes:,} B", f"{share:.1f} %"):
        assert text in row


def test_sizes_of_networks_are_those_that_are_tested():
    for name, sizes in SIZES.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}`"))
        assert [f"{size:,}" for size in sizes] == [cell.strip() for cell in row.split("|")[3:6]]
