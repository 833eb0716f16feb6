"""The model file: one integer graph in a zip of JSON and ``.npy`` tensors (``docs/files.md``).

Nothing in a file is executed or trusted. Members are stored, not compressed, so no file can
unpack to more than its own size; names, lengths and shapes are checked before arrays are made.
"""

import hashlib
import io
import itertools
import json
import os
import struct
import zipfile
import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from pyhw.files import replacing

from .ops import Graph
from .ops.base import STORED
from .post import Post
from .schema import DTYPES, graph_from_json, graph_to_json, later_fields
from .verify import verify

__all__ = ["FILE_VERSION", "SUFFIX", "fingerprint", "from_bytes", "load", "save", "to_bytes"]

FILE_VERSION = 4
"""Version of the layout with operations of transformers or records of tokens; without them 3 if
arrays are named again, else 2 if there are masked convolutions, else 1."""
SUFFIX = ".pyhw"
"""Usual ending of a model file's name."""
MAGIC = "pyhw-graph"
"""Value of the JSON field ``format``."""
MAX_FILE = 1 << 27
"""Largest file, bytes."""
MAX_JSON = 1 << 24
"""Largest ``graph.json``, bytes."""
MAX_MEMBERS = 1 << 14
"""Most members of the zip."""
MAX_DIRECTORY = MAX_MEMBERS * 128
"""Largest zip directory, bytes."""
MAX_ARRAYS = 1 << 28
"""Most bytes of arrays, each counted as often as it is named."""

_JSON_NAME = "graph.json"
_END = struct.Struct("<4s4H2LH")  # end of the zip directory, without a comment
_COUNTER = itertools.count()


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph to a file, all of it or nothing; equal graphs give equal bytes.

    Raises
    ------
    ValueError
        If the graph breaks a rule, or its meta is not JSON.
    OSError
        If the file cannot be written.
    """
    data = to_bytes(graph)
    with replacing(path) as file:
        file.write(data)


def load(path: str | os.PathLike[str]) -> Graph:
    """Read a graph from a file and check every rule.

    Raises
    ------
    ValueError
        If the file is foreign, damaged, of another version, or its graph breaks a rule; one line
        that begins with the path.
    OSError
        If the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_FILE + 1)
    try:
        return from_bytes(data)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def to_bytes(graph: Graph, *, share: bool = True) -> bytes:
    """Return the bytes of a model file.

    Parameters
    ----------
    graph : Graph
        A graph that keeps the rules.
    share : bool
        Whether equal arrays are stored once.
    """
    record, tensors = graph_to_json(verify(graph), share)
    small = tensors.arrays
    version = max(3 if tensors.shared else 1, _needed_version(record))
    head = {"format": MAGIC, "version": version, "graph": record, "tensors": [
        {"dtype": tensor.dtype.name, "shape": list(tensor.shape)} for tensor in small]}  # fmt: skip
    try:
        text = json.dumps(head, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"Graph meta must be what JSON can hold: {error}") from None
    members = [(_JSON_NAME, text.encode())]
    for number, tensor in enumerate(small):
        little = tensor.astype(tensor.dtype.newbyteorder("<"))
        header = _npy_header(tensor.dtype.name, tensor.shape)
        members.append((f"tensors/{number:05}.npy", header + little.tobytes()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content)
    data = buffer.getvalue()
    if len(data) > MAX_FILE or len(text) > MAX_JSON or len(members) > MAX_MEMBERS:
        raise ValueError(f"Graph {graph.name!r} must fit a file of {MAX_FILE} bytes with "
                         f"{MAX_MEMBERS} members, not {len(data)} and {len(members)}")  # fmt: skip
    return data


def fingerprint(graph: Graph) -> str:
    """Return a hash (SHA-256 as text) of everything in a graph but its meta.

    It is that of its file with every array written out.
    """
    return hashlib.sha256(to_bytes(replace(graph, meta={}), share=False)).hexdigest()


def from_bytes(data: bytes) -> Graph:
    """Return the graph of a model file's bytes, as `load`."""
    if len(data) > MAX_FILE:
        raise ValueError(f"file must be at most {MAX_FILE} bytes")
    members = _members(data)
    head = _json(members)
    listed = head["tensors"]
    if not isinstance(listed, list) or len(listed) != len(members) - 1:
        raise ValueError("damaged: the list of tensors does not match the members")
    given: list[np.ndarray] = []

    named = 0

    def tensor(number: int) -> np.ndarray:
        nonlocal named
        if number == len(given) < len(listed):
            given.append(_tensor(listed[number], members[f"tensors/{number:05}.npy"], number))
        elif not 0 <= number < len(given):
            raise ValueError(f"damaged: tensor {number} is not the next one")
        named += given[number].nbytes
        if named > MAX_ARRAYS:
            raise ValueError(f"damaged: more than {MAX_ARRAYS} bytes of arrays")
        return given[number]

    if head["version"] < (needed := _needed_version(head["graph"])):
        raise ValueError(f"damaged: operations of version {needed} in version {head['version']}")
    try:
        graph = verify(graph_from_json(head["graph"], tensor))
    except TypeError as error:
        raise ValueError(f"damaged: {error}") from None
    if len(given) != len(listed):
        raise ValueError(f"damaged: tensor {len(given)} belongs to no operation")
    return graph


def _needed_version(record: Any) -> int:
    """Return the first version that has all operations and fields of a graph's JSON."""
    ops = record.get("ops") if isinstance(record, dict) else None
    needed = 1
    for op in ops if isinstance(ops, list) else []:
        if not isinstance(op, dict):
            continue
        kind, post = STORED.get(str(op.get("op"))), op.get("post")
        needed = max(needed, getattr(kind, "since", 1))
        if isinstance(post, dict):
            later = later_fields(Post)
            needed = max([needed, *(later[name] for name in post if name in later)])
    return needed


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the one header that a tensor's member has (NumPy format 1.0)."""
    code = np.dtype(dtype).newbyteorder("<").str
    text = f"{{'descr': '{code}', 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("ascii")


def _members(data: bytes) -> dict[str, bytes]:
    """Return the members of the zip after checking names and sizes."""
    if len(data) < _END.size or not data.startswith(b"PK\x03\x04"):
        raise ValueError("not a pyhw graph (no zip), or cut off")
    mark, _, _, _, count, length, _, comment = _END.unpack_from(data, len(data) - _END.size)
    if mark != b"PK\x05\x06" or comment:
        raise ValueError("cut off or damaged: the zip directory does not end the file")
    if count > MAX_MEMBERS or length > MAX_DIRECTORY or b"PK\x06\x07" in data[-64 : -_END.size]:
        raise ValueError(f"zip directory must have at most {MAX_MEMBERS} members")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_members(archive, len(data))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError, RuntimeError,
            struct.error, zlib.error) as error:  # fmt: skip
        raise ValueError(f"damaged zip: {error}") from None


def _read_members(archive: zipfile.ZipFile, size: int) -> dict[str, bytes]:
    infos = archive.infolist()
    names = [info.filename for info in infos]
    wanted = [_JSON_NAME, *(f"tensors/{number:05}.npy" for number in range(len(infos) - 1))]
    if names[:1] != [_JSON_NAME]:
        raise ValueError("not a pyhw graph (its zip does not begin with graph.json)")
    if names != wanted:
        odd = next(name for name, want in zip(names, wanted) if name != want)
        raise ValueError(f"damaged: unexpected member {odd!r:.60}")
    if any(i.compress_type != zipfile.ZIP_STORED or i.file_size != i.compress_size for i in infos):
        raise ValueError("members must be stored, not compressed")
    if sum(info.file_size for info in infos) > size or infos[0].file_size > MAX_JSON:
        raise ValueError("damaged: members are larger than the file may hold")
    return {info.filename: archive.read(info) for info in infos}


def _json(members: dict[str, bytes]) -> dict[str, Any]:
    def refuse(text: str) -> None:
        raise ValueError(f"{text} is no number")

    try:
        head = json.loads(members[_JSON_NAME].decode(), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"graph.json must be JSON: {error}") from None
    if not isinstance(head, dict) or head.get("format") != MAGIC:
        raise ValueError("not a pyhw graph (graph.json is something else)")
    version = head.get("version")
    if isinstance(version, bool) or version not in range(1, FILE_VERSION + 1):
        raise ValueError(
            f"graph file must be of version 1 to {FILE_VERSION}, not {head.get('version')!r:.20}; "
            "a newer pyhw may read it"
        )
    if set(head) != {"format", "version", "graph", "tensors"}:
        raise ValueError("graph.json must have the fields format, version, graph and tensors")
    return head


def _tensor(listed: Any, data: bytes, number: int) -> np.ndarray:
    """Return one array; its member must be exactly the listed header and that many bytes."""
    dtype = listed.get("dtype") if isinstance(listed, dict) else None
    shape = listed.get("shape") if isinstance(listed, dict) else None
    if dtype not in DTYPES or not isinstance(shape, list) or not 1 <= len(shape) <= 5:
        raise ValueError(f"damaged: tensor {number} must have a known dtype and 1 to 5 dimensions")
    if not all(isinstance(n, int) and 0 <= n <= MAX_FILE for n in shape):
        raise ValueError(f"damaged: tensor {number} has an impossible shape {shape!s:.60}")
    header, count = _npy_header(dtype, tuple(shape)), 1
    for n in shape:
        count *= n
    if not data.startswith(header) or len(data) - len(header) != count * np.dtype(dtype).itemsize:
        raise ValueError(f"damaged: tensor {number} is not what graph.json lists")
    code = np.dtype(dtype).newbyteorder("<")
    return np.frombuffer(data, code, count, len(header)).reshape(shape)
