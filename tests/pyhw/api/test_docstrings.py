"""The docstrings of `import pyhw`: complete, with examples that run, and the page made of them."""

import doctest
import inspect
from types import SimpleNamespace

import pytest

import pyhw
from pyhw.api.page import GROUPS, SHOWN, SLOW, api_markdown, parse, public_members
from tests.support import ROOT
from tests.support.device_model import DeviceModel
from tests.support.pty_board import PtyBoard

pytest.importorskip("torch")
pytest.importorskip("sklearn")

NAMES = [name for names in GROUPS.values() for name in names]
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(pyhw, name))]
CLASSES = [name for name in NAMES if inspect.isclass(getattr(pyhw, name))]
WITHOUT_EXAMPLE = {"Quantized", "Built", "Simulation", "Synthesis", "Inference", "EngineConfig",
                   "Proposal"}
"""Classes that the examples of functions and of `Config` show."""


def test_the_page_shows_every_public_name():
    assert {*NAMES, "MODELS", "__version__"} == set(pyhw.__all__)
    assert len(NAMES) == len(set(NAMES))


def test_the_page_is_made_of_the_docstrings():
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == api_markdown(), (
        "run: python -m pyhw.api.page docs/api.md")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_documents_every_parameter_result_and_error(name):
    function = getattr(pyhw, name)
    doc, signature = parse(function), inspect.signature(function)
    documented = [one.strip().lstrip("*") for head, _ in doc.items("Parameters")
                  for one in head.partition(" : ")[0].split(",")]
    assert sorted(documented) == sorted(signature.parameters)
    assert ("Returns" in doc.sections) == (signature.return_annotation is not None)
    assert any(head == "UserError" for head, _ in doc.items("Raises"))
    assert "Examples" in doc.sections


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_documents_its_members_and_shows_itself(name):
    kind = getattr(pyhw, name)
    shown = SHOWN.get(name)
    for member, value in public_members(kind).items():
        if shown is None or member in shown:
            assert parse(getattr(value, "__func__", value)).text, f"{name}.{member}"
    assert ("Examples" in parse(kind).sections) == (name not in WITHOUT_EXAMPLE)
    if not issubclass(kind, Exception) and name not in ("Target", "EngineConfig"):
        assert kind.__repr__ is not object.__repr__
        assert name == "Connection" or hasattr(kind, "_repr_html_"), name


@pytest.fixture
def board(tmp_path, monkeypatch):
    """Plug in a model of a board, and have files for it in the working folder."""
    list_ports = pytest.importorskip("serial.tools.list_ports")
    monkeypatch.chdir(tmp_path)
    graph, config = pyhw.load(pyhw.MODELS / "lenet1_adder_mnist.pyhw"), pyhw.preset("tiny")
    program = pyhw.compile(graph, config)
    pyhw.save(graph, "lenet1.pyhw")
    pyhw.save(program, "lenet1.pyhwprog")
    with PtyBoard(DeviceModel(config, graph, program.image)) as plugged:
        port = SimpleNamespace(device=plugged.port, vid=0x0403, pid=0x6015, serial_number=None,
                               location=None)
        monkeypatch.setattr(list_ports, "comports", lambda: [port])
        yield


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_the_examples_of_docstrings_run(name, board):
    value = getattr(pyhw, name)
    example = doctest.DocTestParser().get_doctest(
        inspect.getdoc(value) or "", {}, name, inspect.getsourcefile(value), 0)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert result.failed == 0, "".join(said)
