from dataclasses import replace

import numpy as np
import pytest

from pyhw.graph.ops import (
    Concat,
    Conv,
    Graph,
    Input,
    Permute,
    Pointwise,
    Pool,
    Post,
    Step,
)  # fmt: skip
from pyhw.graph.verify import verify
from pyhw.hdl.formats import Format

U8, S8, S16, S32 = Format(8), Format(8, True), Format(16, True), Format(32, True)


def step(channels=2, fmt=U8, shift=0, bias=0, exponent=0, sign=1, terms=1, r=None):
    full = np.full((terms, channels), 0)
    more = {} if r is None else {"r_sign": full + 1, "r_exponent": full + r}
    return Step(full + sign, full + exponent, np.full(channels, bias), np.full(channels, shift),
                fmt, **more)  # fmt: skip


def post(**fields):
    return Post(step(**fields))


IMAGE = Input(name="x", shape=(4, 4, 2), fmt=U8)
L1 = Conv(name="c", input="x", term="l1", weight=np.ones((2, 3, 3, 2), int), post=post())
SHIFT = Conv(name="c", input="x", term="shift", sign=np.ones((1, 2, 1, 1, 2), int),
             exponent=np.zeros((1, 2, 1, 1, 2), int), code_width=4, post=post())  # fmt: skip
POOL = Pool(name="c", input="x", kind="sum", kernel=(2, 2), stride=(2, 2), post=post())
POINT = Pointwise(name="c", input="x", post=post())
SECOND = Post(step(), second=step())
TABLE = Post(step(), np.zeros(256, int), U8)


def graph(*ops, image=IMAGE, output=None, name="g"):
    return Graph(name, (image, *ops), output or ops[-1].name)


def wide(fmt):
    """Graph of a stored map of that format, and a narrow one of it."""
    return replace(POINT, name="w", post=post(fmt=fmt))


def test_sound_graphs_pass_and_are_returned():
    for op in (L1, SHIFT, POOL, POINT, replace(POINT, post=SECOND), replace(POINT, post=TABLE)):
        sound = graph(op)
        assert verify(sound) is sound
    verify(graph(wide(S16), replace(POINT, input="w")))
    verify(graph(wide(S16), replace(POINT, post=Post(step(r=0), residual="w"))))
    verify(graph(replace(L1, post=post(fmt=S32))))


BROKEN = {
    "graph name": (graph(L1, name="a b"), "Graph name must be"),
    "no operation": (Graph("g", (IMAGE,), "x"), "Input followed by operations"),
    "no input": (Graph("g", (L1, POOL), "c"), "Input followed by operations"),
    "output": (graph(L1, output="y"), "Graph output must be the name of an operation, not 'y'"),
    "output is input": (graph(L1, output="x"), "Graph output must be"),
    "op name": (graph(replace(L1, name="9")), "'9': name must be"),
    "unique": (graph(L1, replace(POOL, input="c")), "'c': name must be unique"),
    "second input": (graph(L1, replace(IMAGE, name="y")), "'y': only the first may be an Input"),
    "order": (graph(replace(L1, input="later")), "made before it, not 'later'"),
    "residual order": (
        graph(replace(POINT, post=Post(step(r=0), residual="c"))), "made before it, not 'c'"),
    "unread": (graph(L1, replace(POOL, name="p"), output="p"), "'c': every value must be read"),
    "empty concat": (graph(Concat(name="c", inputs=())), "'c': must read a value"),
    "map side": (graph(L1, image=replace(IMAGE, shape=(0, 4, 2))), "'x': shape must be three"),
    "index": (graph(Permute(name="c", input="x", index=np.zeros(16, int))), "every position"),
    "index length": (graph(Permute(name="c", input="x", index=np.arange(15))), "every position"),
    "stride": (graph(replace(L1, stride=(0, 1))), "stride must be from 1 to 255"),
    "padding": (graph(replace(L1, padding=(0, 0, -1, 0))), "padding must be from 0 to 255"),
    "kernel": (graph(replace(POOL, kernel=(0, 1))), "kernel must be from 1"),
    "dilation": (graph(replace(L1, dilation=(1, 0))), "dilation must be from 1"),
    "no outputs": (graph(replace(L1, weight=np.ones((0, 1, 1, 2), int))), "output channels"),
    "no digits": (
        graph(replace(SHIFT, sign=SHIFT.sign[:0], exponent=SHIFT.sign[:0])), "digits"),
    "groups": (graph(replace(L1, groups=3)), "groups must divide 2 input and 2 output"),
    "group channels": (graph(replace(L1, groups=2)), "must take 1 input channels per group, not 2"),
    "uncounted padding": (
        graph(replace(POOL, padding=(1, 0, 0, 0), count_include_pad=False)),
        "average over padding must count"),
    "kernel fits": (graph(replace(L1, dilation=(2, 2))), "5 does not fit 4"),
    "concat sides": (
        graph(replace(POOL, name="p"), Concat(name="c", inputs=("x", "p"))),
        "one height and width"),
    "concat formats": (
        graph(replace(POINT, name="p", post=post(fmt=S8)), Concat(name="c", inputs=("x", "p"))),
        "one format, not s8, u8"),
    "map channels": (
        graph(Concat(name="c", inputs=("x", "x")),
              image=replace(IMAGE, shape=(4, 4, 40000))), "at most 65535"),
    "one-bit image": (graph(POINT, image=replace(IMAGE, fmt=Format(1))), "'x': input must be 2"),
    "wide image": (graph(POINT, image=replace(IMAGE, fmt=S16)), "'x': input must be 2 to 8 bits"),
    "engine reads wide": (graph(wide(S16), replace(L1, input="w")), "2 to 8 bits wide, not s16"),
    "pool reads wide": (graph(wide(S16), replace(POOL, input="w")), "2 to 8 bits wide, not s16"),
    "permute reads wide": (
        graph(wide(S16), Permute(name="c", input="w", index=np.arange(16))), "2 to 8 bits"),
    "wide and residual": (
        graph(wide(S16), replace(POINT, input="w", post=Post(step(r=0), residual="x"))),
        "takes the residual's place"),
    "logits read": (graph(wide(S32), replace(POINT, input="w")), "only the output may be wider"),
    "stored bit": (graph(replace(POINT, post=post(fmt=Format(1)))), "at least 2 bits wide, not u1"),
    "ex": (graph(replace(L1, ex=8)), "ex and ew must be from 0 to 7"),
    "x shifted": (graph(replace(L1, ex=1)), "x << ex must fit u8"),
    "w shifted": (
        graph(replace(L1, ew=2, weight=np.full((2, 1, 1, 2), 64))), "w << ew must fit u8"),
    "w sign": (
        graph(replace(L1, weight=np.full((2, 1, 1, 2), -1))), "must fit u8.*not -1 to -1"),
    "w range": (
        graph(replace(L1, weight=np.full((2, 1, 1, 2), 128)), image=replace(IMAGE, fmt=S8)),
        "must fit s8.*not 128 to 128"),
    "shift ex": (graph(replace(SHIFT, ex=1)), "ex and ew must be 0 for shift terms"),
    "code width": (graph(replace(SHIFT, code_width=6)), "code_width must be 3, 4 or 5, not 6"),
    "exponent": (graph(replace(SHIFT, exponent=SHIFT.exponent + 7)), "weight exponents.*0 to 6"),
    "weight sign": (graph(replace(SHIFT, sign=SHIFT.sign * 2)), "weight signs must be -1, 0 or 1"),
    "max pad": (graph(replace(POOL, kind="max", pad_value=[0, 0])), "maximum takes no pad values"),
    "pad channels": (graph(replace(L1, pad_value=[0])), "pad_value must have 2 channels, not 1"),
    "pad range": (graph(replace(L1, pad_value=[0, 256])), "input's format u8, not 0 to 256"),
    "step channels": (graph(replace(L1, post=post(channels=3))), "channels must be the 2"),
    "bias": (graph(replace(L1, post=post(bias=1 << 31))), "first step's bias must fit 32 bits"),
    "shift": (graph(replace(L1, post=post(shift=32))), "shift must be from 0 to 31"),
    "terms": (graph(replace(L1, post=post(terms=5))), "m must have 1 to 4 terms, not 5"),
    "m exponent": (graph(replace(L1, post=post(exponent=17))), "m exponents must be from 0 to 16"),
    "m sign": (graph(replace(L1, post=post(sign=2))), "m signs must be"),
    "second step": (
        graph(replace(L1, post=Post(step(), second=step(shift=-1)))), "the second step's shift"),
    "r alone": (graph(replace(L1, post=post(r=0))), "r must be given if and only if"),
    "residual alone": (
        graph(replace(POINT, post=Post(step(), residual="x"))), "r must be given if and only if"),
    "r exponent": (
        graph(replace(POINT, post=Post(step(r=17), residual="x"))), "r exponents must be"),
    "residual shape": (
        graph(replace(L1, post=Post(step(r=0), residual="x"))),
        r"residual 'x' must have the shape \(2, 2, 2\), not \(4, 4, 2\)"),
    "residual2 alone": (
        graph(replace(POINT, post=Post(step(), residual2="x"))), "must come with a second step"),
    "second reads": (
        graph(replace(POINT, post=Post(step(fmt=S16), second=step()))), "read at most 8 bits"),
    "second stores": (
        graph(replace(POINT, post=Post(step(), second=step(fmt=S32)))), "store at most 16 bits"),
    "table reads": (
        graph(replace(POINT, post=replace(TABLE, first=step(fmt=S16)))), "table must read at most"),
    "table stores": (
        graph(replace(POINT, post=replace(TABLE, table_format=S16))), "table must store at most"),
    "table values": (
        graph(replace(POINT, post=replace(TABLE, table=np.full(256, -1)))), "not -1 to -1"),
    "accumulator": (
        graph(replace(SHIFT, code_width=5, sign=np.ones((200, 2, 4, 4, 2), int),
                      exponent=np.full((200, 2, 4, 4, 2), 14))), "accumulator must fit 32 bits"),
}  # fmt: skip


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named_in_one_line(rule):
    broken, text = BROKEN[rule]
    with pytest.raises(ValueError, match=text) as caught:
        verify(broken)
    assert "\n" not in str(caught.value)


def test_something_else_than_an_operation_is_refused():
    with pytest.raises(TypeError, match=r"records of pyhw\.graph\.ops"):
        verify(Graph("g", (IMAGE, "conv"), "conv"))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: step(bias=0.5), TypeError, "Step.bias must be an integer array, not float64"),
        (lambda: replace(step(), bias=[[0]]), ValueError, "Step.bias must have 1 dimensions"),
        (lambda: step(shift=200), ValueError, "Step.shift must hold values from -128 to 127"),
        (lambda: replace(step(), fmt="u8"), TypeError, "Step.fmt must be a Format"),
        (lambda: replace(step(), r_sign=[[1, 1]]), ValueError, "given together"),
        (lambda: replace(step(), m_exponent=[[1]]), ValueError, r"shape \(1, 2\) of Step.m_sign"),
        (lambda: replace(step(), shift=[0]), ValueError, "2 channels of the bias"),
        (lambda: Post(step(), table=np.zeros(256, int)), ValueError, "given together"),
        (lambda: Post(step(), np.zeros(9, int), U8), ValueError, "256 entries, not 9"),
        (lambda: replace(L1, term="mul"), ValueError, "'l1' or 'shift', not 'mul'"),
        (lambda: replace(L1, weight=None), ValueError, "must have weight"),
        (lambda: replace(SHIFT, code_width=None), ValueError, "must have sign, exponent and code"),
        (lambda: replace(L1, stride=1), TypeError, "Conv.stride must be 2 integers, not 1"),
        (lambda: replace(L1, stride=(1, 1.5)), TypeError, "Conv.stride must be 2 integers"),
        (lambda: replace(L1, padding=(0, 0)), ValueError, "Conv.padding must be 4 integers"),
        (lambda: replace(POOL, kind="mean"), ValueError, "'sum' or 'max', not 'mean'"),
        (lambda: Concat(name="c", inputs="x"), TypeError, "sequence of names, not 'x'"),
        (lambda: Graph("g", (L1,), "c").input, ValueError, "must begin with an Input"),
    ],
)
def test_records_refuse_fields_of_the_wrong_kind(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_arrays_of_a_record_are_private_and_read_only():
    weight = np.ones((2, 3, 3, 2), int)
    conv = replace(L1, weight=weight)
    weight[:] = 5
    assert conv.weight.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        conv.weight[0] = 3


def test_records_are_equal_if_all_their_arrays_are():
    same = replace(L1, weight=L1.weight.copy())
    other = replace(L1, weight=L1.weight + 1)
    assert graph(L1) == graph(same)
    assert hash(graph(L1)) == hash(graph(same))
    assert graph(L1) != graph(other)
    assert graph(L1) != "graph"


def test_exponents_of_absent_terms_are_stored_as_zero():
    assert not step(sign=0, exponent=9).m_exponent.any()
    conv = replace(SHIFT, sign=SHIFT.sign * 0, exponent=SHIFT.exponent + 3)
    assert not conv.exponent.any()


def test_operations_are_found_by_name():
    found = graph(L1)
    assert found.op("c") is L1
    assert found.input is IMAGE
    with pytest.raises(KeyError):
        found.op("y")
