"""The example and the table of errors of docs/host.md."""

import re
from pathlib import Path

import numpy as np
import pytest

import pyhw
from pyhw.compiler import compile_graph
from pyhw.graph.execute import run
from tests.pyhw.cli.test_input import TINY, small_graph, small_images
from tests.support.device_model import DeviceModel
from tests.support.pty_board import PtyBoard

ROOT = Path(pyhw.__file__).parent
PAGE = (ROOT.parent / "docs" / "host.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("serial")
    monkeypatch.chdir(tmp_path)
    graph, images = small_graph(), small_images(6)
    program = compile_graph(graph, TINY, 4)
    program.save("net.pyhwprog")
    np.save("images.npy", images)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    with PtyBoard(DeviceModel(TINY, graph, program)) as board:
        names = {"PORT": board.port}
        exec(example, names)
    assert np.array_equal(names["outputs"], run(graph, images.astype(np.int64)))
    assert "bytes sent" in capsys.readouterr().out


def test_every_error_of_the_table_is_one_of_the_program():
    source = "".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
    source = re.sub(r'"\s*\n\s*(\+ \()?f?"', "", source)  # texts that go on in the next line
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \|", PAGE, re.M)
    assert len(rows) > 12
    for text in rows:
        words = text.removeprefix("did not answer IDENTIFY") or "The device did not answer"
        words = words.replace("pyserial was not found", " was not found")
        assert words in source, text
