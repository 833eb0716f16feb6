"""Masked convolutions on random prototypes and masks, as integer graphs, and damaged files."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np

from pyhw.graph.ops import Conv, Graph, Input
from pyhw.graph.post import Post, Step
from pyhw.graph.terms import term_of
from pyhw.hdl.formats import Format, ShiftCode
from pyhw.hdl.signed_digits import nearest_terms


def random_prototype(code_width, size, seed=0):
    """Return shift codes that are not 0."""
    rng, code = np.random.default_rng(seed), ShiftCode(code_width)
    sign = rng.integers(0, 2, size) << (code_width - 1)
    return (rng.integers(0, min(code.zero, 7), size) | sign).astype(np.int8)


def masked_conv(name, code_width, *, shape, size=None, seed=0, side=6, prototype=None, **options):
    """Return a masked convolution, half of its weights left out, and the side of its input."""
    rng = np.random.default_rng(seed)
    if prototype is None:
        prototype = random_prototype(code_width, size, seed)
    sign, exponent = term_of("shift").expand(prototype, code_width, shape)
    kept = rng.integers(0, 2, shape)
    out = shape[0]
    terms = np.array(nearest_terms(3)).T
    step = Step(m_sign=np.repeat(terms[0][:, None], out, 1),
                m_exponent=np.repeat(terms[1][:, None], out, 1), bias=np.full(out, 1 << 12),
                shift=np.full(out, 6), fmt=Format(8))
    return Conv(name=name, input="image", term="shift", sign=(sign * kept)[None],
                exponent=(exponent * kept)[None], code_width=code_width, prototype=prototype,
                post=Post(first=step), **options), side


def masked_graph(code_width, **options):
    """Return a graph of one masked convolution (`masked_conv`)."""
    conv, side = masked_conv("masked", code_width, **options)
    shape = (side, side, conv.weight_shape[3] * conv.groups)
    return Graph("masked", (Input(name="image", shape=shape, fmt=Format(8)), conv), "masked")


def chain(*convs, shape=(6, 6, 4)):
    """Return a graph in which every convolution reads the one before."""
    ops, last = [Input(name="image", shape=shape, fmt=Format(8))], "image"
    for conv in convs:
        ops.append(replace(conv, input=last))
        last = conv.name
    return Graph("chain", tuple(ops), last)


def three(prototype=None, code_width=5):
    """Return a chain of a patch layer, a depthwise and a pointwise one."""
    sizes = {"patch": {"shape": (12, 2, 2, 4), "stride": (2, 2)},
             "deep": {"shape": (12, 3, 3, 1), "groups": 12, "padding": (1, 1, 1, 1)},
             "point": {"shape": (7, 1, 1, 12)}}
    return chain(*(masked_conv(name, code_width, seed=k, prototype=prototype, size=30 + k,
                               **options)[0]
                   for k, (name, options) in enumerate(sizes.items())))


def again(code_width=5):
    """Return a chain of three layers, the last one with the weights of the first."""
    first, other = (masked_conv(name, code_width, seed=k, size=30 + k, shape=(5, 3, 3, 5),
                                padding=(1, 1, 1, 1))[0] for k, name in enumerate("ab"))
    return chain(first, other, replace(first, name="c"), shape=(6, 6, 5))


def members(data):
    """Return the members of a zip by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(data, change):
    """Bytes of a file whose JSON, a dict, was changed."""
    parts, buffer = members(data), io.BytesIO()
    head = json.loads(parts["graph.json"])
    change(head, parts)
    parts["graph.json"] = json.dumps(head)
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tensor(number, change):
    """Return a change of a tensor of bytes."""
    def apply(head, parts):
        name = f"tensors/{number(head):05}.npy"
        shape = head["tensors"][number(head)]["shape"]
        raw = np.frombuffer(parts[name][-shape[0]:], np.uint8)
        buffer = io.BytesIO()
        array = change(raw).astype(np.uint8)
        np.lib.format.write_array(buffer, array, version=(1, 0))
        parts[name] = buffer.getvalue()
        head["tensors"][number(head)] = {"dtype": "uint8", "shape": list(array.shape)}
    return apply


def mask(head):
    """Return the number of the first operation's mask."""
    return head["graph"]["ops"][1]["mask"]
