"""Integer graphs of one layer, with images, that several tests share."""

import numpy as np

from pyhw.graph.ops import Conv, Graph, Input, Post, Step
from pyhw.graph.verify import verify
from pyhw.hdl.formats import Format

DEPTHWISE = [
    {}, {"kernel": (1, 3)}, {"kernel": (5, 5), "padding": (2, 2, 2, 2)}, {"kernel": (3, 2)},
    {"kernel": (2, 6)}, {"stride": (2, 1)}, {"stride": (1, 2)}, {"dilation": (2, 1)},
    {"dilation": (1, 2), "padding": (1, 2, 1, 2)}, {"pad_value": True}, {"digits": 2},
    {"columns": 13},
]  # fmt: skip
"""What differs between the depthwise layers that tests run: arguments of `depthwise_case`."""


def depthwise_case(term, width, *, kernel=(3, 3), padding=(1, 1, 1, 1), columns=6, digits=1,
                   pad_value=False, **fields):
    """Return a graph of one depthwise layer with 8 channels, and 5 images for it.

    Parameters
    ----------
    term : {"l1", "shift"}
    width : int
        Bits of a weight (l1) or of a code (shift, on signed activations).
    """
    rng, channels = np.random.default_rng(3), 8
    fmt = Format(8, signed=term == "shift")
    if pad_value:
        fields["pad_value"] = rng.integers(0, 100, channels)
    step = Step(m_sign=[[1] * channels], m_exponent=[[0] * channels], shift=[3] * channels,
                bias=[400 if term == "l1" else 0] * channels, fmt=Format(8, signed=True))
    if term == "l1":
        fields["weight"] = rng.integers(0, 1 << width, (channels, *kernel, 1))
    else:
        shape = (digits, channels, *kernel, 1)
        fields |= {"sign": rng.integers(-1, 2, shape), "code_width": width,
                   "exponent": rng.integers(0, 3 if width == 3 else 5, shape)}
    conv = Conv(name="layer", input="image", term=term, groups=channels, post=Post(step),
                padding=padding, **fields)
    shape = (5, columns, channels)
    graph = verify(Graph("net", (Input(name="image", shape=shape, fmt=fmt), conv), "layer"))
    return graph, rng.integers(fmt.min, fmt.max + 1, (5, *shape))
