import hashlib
import io
import json
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from pyhw.graph import file
from pyhw.graph.file import from_bytes, load, save, to_bytes
from pyhw.graph.ops import Conv, Graph, Input, Post, Step
from pyhw.graph.random import random_graph
from pyhw.hdl.formats import Format


@pytest.fixture(scope="module")
def sample():
    graph = next(
        g for g, _ in map(random_graph, range(50))
        if {type(op).__name__ for op in g.ops} >= {"Conv", "Pool"}
        and any(getattr(op, "sign", None) is not None for op in g.ops)
    )  # fmt: skip
    return replace(graph, meta={"accuracy": 0.5, "classes": ["a", "b"]})


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(parts, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def changed(data, change):
    """Bytes of a file whose JSON went through a function."""
    parts = members(data)
    head = json.loads(parts["graph.json"])
    parts["graph.json"] = json.dumps(change(head) or head)
    return pack(parts)


@pytest.mark.parametrize("seed", range(30))
def test_a_graph_survives_the_file(seed, tmp_path):
    graph, _ = random_graph(seed)
    path = tmp_path / "model.pyhw"
    save(graph, path)
    again = load(path)
    assert again == graph
    assert to_bytes(again) == path.read_bytes()


def test_equal_graphs_give_equal_bytes_whatever_the_order_of_meta(sample):
    turned = replace(sample, meta=dict(reversed(sample.meta.items())))
    assert to_bytes(turned) == to_bytes(sample)
    assert from_bytes(to_bytes(sample)).meta == sample.meta


def test_numpy_reads_the_tensors(sample):
    parts = members(to_bytes(sample))
    listed = json.loads(parts["graph.json"])["tensors"]
    assert len(listed) > 3
    for number, record in enumerate(listed):
        member = io.BytesIO(parts[f"tensors/{number:05}.npy"])
        array = np.load(member, allow_pickle=False)
        assert array.dtype.name == record["dtype"]
        assert list(array.shape) == record["shape"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(sample, tmp_path, monkeypatch):
    path = tmp_path / "model.pyhw"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(file.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(sample, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.pyhw"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("meta", [{"x": float("nan")}, {"x": object()}])
def test_meta_that_json_cannot_hold_is_refused(sample, meta):
    with pytest.raises(ValueError, match="Graph meta must be what JSON can hold"):
        to_bytes(replace(sample, meta=meta))


def test_a_graph_that_breaks_a_rule_is_neither_written_nor_read(sample):
    with pytest.raises(ValueError, match="Graph output"):
        to_bytes(replace(sample, output="nothing"))
    data = changed(to_bytes(sample), lambda head: head["graph"].update(output="nothing"))
    with pytest.raises(ValueError, match="Graph output"):
        from_bytes(data)


def test_too_large_a_graph_is_not_written(sample, monkeypatch):
    monkeypatch.setattr(file, "MAX_FILE", 1000)
    with pytest.raises(ValueError, match="must fit a file of 1000 bytes"):
        to_bytes(sample)


def edit(path, value):
    """Change that sets one entry, by a path of keys, in the JSON."""

    def change(head):
        at = head
        for key in path[:-1]:
            at = at[key]
        if value is KeyError:
            del at[path[-1]]
        else:
            at[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (edit(["version"], 5), "must be of version 1 to 4, not 5; a newer pyhw may read it"),
        (edit(["version"], KeyError), "must be of version 1 to 4, not None"),
        (edit(["format"], "onnx"), "not a pyhw graph"),
        (lambda head: [1], "not a pyhw graph"),
        (edit(["extra"], 1), "must have the fields"),
        (edit(["tensors"], KeyError), "must have the fields"),
        (edit(["tensors"], []), "does not match the members"),
        (edit(["tensors"], {}), "does not match the members"),
        (edit(["tensors", 0], 7), "tensor 0 must have a known dtype"),
        (edit(["tensors", 0, "dtype"], "object"), "tensor 0 must have a known dtype"),
        (edit(["tensors", 0, "dtype"], "int64"), "tensor 0 is not what graph.json lists"),
        (edit(["tensors", 0, "shape"], [1 << 40]), "tensor 0 has an impossible shape"),
        (edit(["tensors", 0, "shape"], [-1]), "tensor 0 has an impossible shape"),
        (edit(["tensors", 0, "shape"], [1] * 6), "1 to 5 dimensions"),
        (edit(["graph"], 3), "graph must be an object"),
        (edit(["graph", "ops"], 3), "graph field 'ops' must be a list"),
        (edit(["graph", "meta"], 3), "graph field 'meta' must be an object"),
        (edit(["graph", "name"], 3), "graph.name must be of type text"),
        (edit(["graph", "ops", 0, "op"], "softmax"), "known kind, not 'softmax'"),
        (edit(["graph", "ops", 0, "op"], []), "known kind"),
        (edit(["graph", "ops", 0], 5), "known kind"),
        (edit(["graph", "ops", 0, "fmt"], "u99"), "Format"),
        (edit(["graph", "ops", 0, "shape"], [1, 2]), "Input.shape must be 3 integers"),
        (edit(["graph", "ops", 0, "shape"], [1, 2, "3"]), "shape must be of type ints"),
        (edit(["graph", "ops", 0, "shape"], [10**400, 1, 1]), "shape must be of type ints"),
        (edit(["graph", "ops", 1, "input"], None), "input must be of type text"),
        (edit(["graph", "ops", 1, "post"], None), "post must be an object"),
        (edit(["graph", "ops", 1, "post", "first", "bias"], 0), "is not the next one"),
        (edit(["graph", "ops", 1, "post", "first", "more"], 0), "unknown field 'more'"),
        (edit(["graph", "ops", 1, "post", "first", "bias"], KeyError), "no field 'bias'"),
    ],
)
def test_a_file_with_other_contents_is_refused_in_one_line(sample, change, text):
    with pytest.raises(ValueError, match=text) as caught:
        from_bytes(changed(to_bytes(sample), change))
    assert "\n" not in str(caught.value)


def test_tensors_of_no_operation_are_refused(sample):
    parts = members(to_bytes(sample))
    head = json.loads(parts["graph.json"])
    count = len(head["tensors"])
    head["tensors"].append(head["tensors"][0])
    parts["graph.json"] = json.dumps(head)
    parts[f"tensors/{count:05}.npy"] = parts["tensors/00000.npy"]
    with pytest.raises(ValueError, match=f"tensor {count} belongs to no operation"):
        from_bytes(pack(parts))


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "[" * 100000, b"\xff"])
def test_broken_json_is_refused(text):
    with pytest.raises(ValueError, match=r"graph\.json must be JSON"):
        from_bytes(pack({"graph.json": text}))


def test_foreign_files_and_zips_are_refused(sample):
    data = to_bytes(sample)
    for foreign in (b"", b"\x7fELF" + bytes(100), b"PK\x03\x04", bytes(1000)):
        with pytest.raises(ValueError, match="not a pyhw graph"):
            from_bytes(foreign)
    with pytest.raises(ValueError, match=r"does not begin with graph\.json"):
        from_bytes(pack({"word/document.xml": "x"}))
    with pytest.raises(ValueError, match=r"unexpected member .*passwd"):
        from_bytes(pack(members(data) | {"../../etc/passwd": "x"}))
    with pytest.raises(ValueError, match="stored, not compressed"):
        from_bytes(pack(members(data), zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="does not end the file"):
        from_bytes(data + b"more")


def test_oversized_files_directories_and_headers_are_refused(sample, monkeypatch):
    data = bytearray(to_bytes(sample))
    struct.pack_into("<H", data, len(data) - 12, 65535)
    with pytest.raises(ValueError, match="at most 16384 members"):
        from_bytes(bytes(data))
    monkeypatch.setattr(file, "MAX_JSON", 100)
    with pytest.raises(ValueError, match="larger than the file may hold"):
        from_bytes(to_bytes_unchecked(sample))
    monkeypatch.setattr(file, "MAX_FILE", 100)
    with pytest.raises(ValueError, match="at most 100 bytes"):
        from_bytes(bytes(data))


def to_bytes_unchecked(graph):
    limit, file.MAX_JSON = file.MAX_JSON, 1 << 30
    try:
        return to_bytes(graph)
    finally:
        file.MAX_JSON = limit


def test_load_names_the_file(sample, tmp_path):
    path = tmp_path / "broken.pyhw"
    path.write_bytes(to_bytes(sample)[:-30])
    with pytest.raises(ValueError, match=r"broken\.pyhw: cut off or damaged"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.pyhw")


def test_damaged_bytes_never_give_another_graph_or_another_error(sample):
    data = to_bytes(sample)
    rng = np.random.default_rng(0)
    directory = len(data) - 22 - 75 * len(members(data))
    for trial in range(1500):
        damaged = bytearray(data)
        # A third each: anywhere, in the directory at the end, in the first headers and JSON.
        low, high = [(0, len(data)), (directory, len(data)), (0, 3000)][trial % 3]
        for _ in range(rng.integers(1, 5)):
            damaged[rng.integers(low, high)] = rng.integers(256)
        if trial % 5 == 0:
            del damaged[rng.integers(len(damaged)) :]
        try:
            found = from_bytes(bytes(damaged))
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017 (an undamaged field may be hit)
        else:
            assert found == sample


def test_damaged_json_with_right_checksums_gives_no_other_error(sample):
    parts = members(to_bytes(sample))
    text = parts["graph.json"]
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(400):
        damaged = bytearray(text)
        for _ in range(rng.integers(1, 3)):
            damaged[rng.integers(len(text))] = rng.choice(list(b'0123456789-"[]{},:aesu.'))
        try:
            from_bytes(pack(parts | {"graph.json": bytes(damaged)}))
        except ValueError:
            refused += 1
    assert refused > 250


def chain_of_one_block(count):
    """Graph that runs one block `count` times, the arrays of each equal but not the same."""
    rng = np.random.default_rng(5)
    weight = rng.integers(0, 250, (4, 3, 3, 4))
    ops = [Input(name="x", shape=(6, 6, 4), fmt=Format(8))]
    for number in range(count):
        step = Step(np.ones((1, 4), int), np.zeros((1, 4), int), [900] * 4, [4] * 4, Format(8))
        ops.append(Conv(name=f"op{number}", input=ops[-1].name, term="l1", weight=weight.copy(),
                        padding=(1, 1, 1, 1), post=Post(step)))  # fmt: skip
    return Graph("chain", tuple(ops), ops[-1].name)


def test_equal_arrays_are_stored_once():
    once, often = (to_bytes(chain_of_one_block(count)) for count in (1, 40))
    tensors = [len([n for n in members(data) if n.endswith(".npy")]) for data in (once, often)]
    assert tensors[0] == tensors[1]
    assert json.loads(members(often)["graph.json"])["version"] == 3
    assert from_bytes(often) == chain_of_one_block(40)


def test_files_from_before_arrays_were_shared_are_read_and_have_the_same_fingerprint():
    graph = chain_of_one_block(3)
    old = to_bytes(graph, share=False)
    assert json.loads(members(old)["graph.json"])["version"] == 1
    assert len(members(old)) == 1 + 3 * 5
    assert from_bytes(old) == graph
    assert to_bytes(from_bytes(old)) == to_bytes(graph)
    assert file.fingerprint(graph) == hashlib.sha256(old).hexdigest()


def test_a_small_file_does_not_ask_for_much_memory(monkeypatch):
    monkeypatch.setattr(file, "MAX_ARRAYS", 4 * 4 * 3 * 3 * 20)
    assert from_bytes(to_bytes(chain_of_one_block(15)))
    with pytest.raises(ValueError, match="damaged: more than 2880 bytes of arrays"):
        from_bytes(to_bytes(chain_of_one_block(25)))
