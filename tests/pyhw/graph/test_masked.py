"""Masked weights in the integer graph: rules, the file, what a reader refuses."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from pyhw.graph.file import from_bytes, load, save, to_bytes
from pyhw.graph.masked import pack_codes, published, unpack_codes
from pyhw.graph.random import random_graph
from pyhw.graph.summary import summarise
from pyhw.graph.terms import term_of
from pyhw.graph.verify import verify
from pyhw.hdl.formats import ShiftCode
from tests.support.masked_models import (
    chain,
    mask,
    masked_conv,
    masked_graph,
    members,
    random_prototype,
    repacked,
    tensor,
)

SHAPE = (6, 3, 2, 5)


def sample(**options):
    return masked_graph(4, shape=SHAPE, size=17, **options)


def test_weight_i_is_entry_i_modulo_d_in_the_published_order():
    prototype = random_prototype(4, 17)
    sign, exponent = term_of("shift").expand(prototype, 4, SHAPE)
    code, index = ShiftCode(4), 0
    out, height, width, channels = SHAPE
    for o in range(out):
        for c in range(channels):
            for ky in range(height):
                for kx in range(width):
                    wanted = code.decode(int(prototype[index % 17]))
                    assert (sign[o, ky, kx, c], exponent[o, ky, kx, c]) == wanted
                    index += 1


@pytest.mark.parametrize("width", [3, 4, 5])
def test_codes_decode_and_pack_without_loss(width):
    code = ShiftCode(width)
    codes = np.arange((1 << width) - 1)  # all but the reserved one
    sign, exponent = term_of("shift").expand(codes, width, (1, 1, 1, len(codes)))
    assert list(zip(sign.ravel(), exponent.ravel(), strict=True)) == [
        code.decode(int(c)) for c in codes]
    packed = pack_codes(codes, width)
    assert len(packed) == -(-len(codes) * width // 8)
    assert np.array_equal(unpack_codes(packed, len(codes), width), codes)


def test_a_masked_graph_survives_the_file(tmp_path):
    graph = sample()
    save(graph, tmp_path / "net.pyhw")
    again = load(tmp_path / "net.pyhw")
    assert again == graph
    assert np.array_equal(again.ops[1].prototype, graph.ops[1].prototype)
    assert to_bytes(again) == (tmp_path / "net.pyhw").read_bytes()


def test_random_graphs_have_masked_layers_of_all_sorts():
    convs = [op for seed in range(60) for op in random_graph(seed)[0].ops
             if getattr(op, "prototype", None) is not None]
    assert len(convs) >= 10
    assert any(op.groups > 1 for op in convs)
    assert any(op.kernel != (1, 1) for op in convs)
    assert any(len(op.prototype) > op.sign.size for op in convs)


def test_masks_take_a_bit_a_weight_and_a_shared_prototype_is_stored_once():
    prototype, options = random_prototype(5, 40), {"shape": (4, 3, 3, 4), "padding": (1, 1, 1, 1)}
    graph = chain(*(masked_conv(f"op{k}", 5, seed=k, prototype=prototype, **options)[0]
                    for k in range(3)), shape=(5, 5, 4))
    data = to_bytes(graph)
    head = json.loads(members(data)["graph.json"])
    assert head["version"] == 3
    sizes = [tensor["shape"] for tensor in head["tensors"]]
    assert sizes.count([18]) == 3  # 144 weights each
    assert sizes.count([25]) == 1  # 40 codes of 5 bits
    assert from_bytes(data) == graph
    assert sum(layer.weight_bits for layer in summarise(graph).layers) == 3 * 144 + 40 * 5


def test_a_graph_without_masks_is_a_file_of_version_1():
    graph = sample()
    plain = replace(graph, ops=(graph.ops[0], replace(graph.ops[1], prototype=None)))
    data = to_bytes(plain)
    assert json.loads(members(data)["graph.json"])["version"] == 1
    assert from_bytes(data) == plain


# Bad input ----------------------------------------------------------------------------------------


def field(name, value):
    return lambda head, parts: head["graph"]["ops"][1].__setitem__(name, value)


def prototype(head):
    return head["graph"]["ops"][1]["prototype"]


DAMAGE = {
    "short mask": (tensor(mask, lambda a: a[:-1]),
                   "mask of 180 weights must have 23 bytes, not 22"),
    "long mask": (tensor(mask, lambda a: np.append(a, 0)),
                  "mask of 180 weights must have 23 bytes, not 24"),
    "bits after the mask": (tensor(mask, lambda a: a | 0x80),
                            "mask of 180 weights must end with them"),
    "short prototype": (tensor(prototype, lambda a: a[:-1]),
                        "17 codes of 4 bits must have 9 bytes"),
    "other size": (field("size", 19), "19 codes of 4 bits must have 10 bytes, not 9"),
    "bits after the prototype": (tensor(prototype, lambda a: a | 0xF0),
                                 "prototype of 17 codes must end with them"),
    "reserved code": (tensor(prototype, lambda a: np.append(a[:-1] | 0xFF, a[-1])),
                      "prototype codes must be from 0 to 14, codes of 4 bits"),
    "no code": (field("size", 0), "must have a shape of 4 sides and a prototype"),
    "no weights": (field("shape", [6, 0, 2, 5]), "must have a shape of 4 sides"),
    "huge": (field("shape", [60000, 255, 255, 60000]), "at most 16777216 weights"),
    "narrow codes": (field("code_width", 2), "code_width must be 3, 4 or 5, not 2"),
    "old version": (lambda head, parts: head.__setitem__("version", 1),
                    "operations of version 2 in version 1"),
    "missing": (lambda head, parts: head["graph"]["ops"][1].pop("mask"), "no field 'mask'"),
    "unknown tensor": (field("prototype", 99), "tensor 99 is not the next one"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_masks_are_refused_in_one_line(case):
    change, message = DAMAGE[case]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        from_bytes(repacked(to_bytes(sample()), change))
    assert "\n" not in str(caught.value)


def test_an_odd_dtype_of_a_tensor_of_bytes_is_refused():
    def widen(head, parts):
        tensor(mask, lambda a: a)(head, parts)
        number = mask(head)
        array = np.full(23, 300, np.int16)
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, version=(1, 0))
        parts[f"tensors/{number:05}.npy"] = buffer.getvalue()
        head["tensors"][number] = {"dtype": "int16", "shape": [23]}

    with pytest.raises(ValueError, match="bytes from 0 to 255"):
        from_bytes(repacked(to_bytes(sample()), widen))


def test_weights_that_are_not_the_prototypes_are_refused():
    graph = sample()
    conv = graph.ops[1]
    sign = conv.sign.copy()
    at = tuple(np.argwhere(sign != 0)[3])
    sign[at] = -sign[at]
    with pytest.raises(ValueError, match=r"0 or its prototype's, in the order \(o, c, ky, kx\)"):
        verify(replace(graph, ops=(graph.ops[0], replace(conv, sign=sign))))
    exponent = conv.exponent.copy()
    exponent[at] = 6 - exponent[at]  # 3 is not drawn for it
    with pytest.raises(ValueError, match="0 or its prototype's"):
        verify(replace(graph, ops=(graph.ops[0], replace(conv, exponent=exponent))))
    with pytest.raises(ValueError, match="at most 16777216 weights and 1 to 16777216"):
        verify(replace(graph, ops=(graph.ops[0], replace(conv, prototype=conv.prototype[:0]))))


@pytest.mark.parametrize("code", [15, -1, 16])
def test_exponents_out_of_the_codes_range_are_refused(code):
    graph = sample()
    prototype = graph.ops[1].prototype.copy()
    prototype[3] = code
    with pytest.raises(ValueError, match="prototype codes must be from 0 to 14, codes of 4 bits"):
        verify(replace(graph, ops=(graph.ops[0], replace(graph.ops[1], prototype=prototype))))


def test_only_shift_weights_of_one_digit_have_a_prototype():
    conv = sample().ops[1]
    twice = {name: np.concatenate([getattr(conv, name)] * 2) for name in ("sign", "exponent")}
    with pytest.raises(ValueError, match="shift terms of one digit"):
        replace(conv, **twice)


def test_the_published_order_is_that_of_the_framework():
    weights = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    out, height, width, channels = SHAPE
    framework = np.moveaxis(weights, 3, 1)  # (O, KH, KW, C) -> (O, C, KH, KW)
    assert framework.shape == (out, channels, height, width)
    assert np.array_equal(published(weights), framework.flatten())
