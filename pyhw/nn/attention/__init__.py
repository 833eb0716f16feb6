"""Forms of attention between tokens."""

from pyhw.nn.attention.binary import Binarise, Log2Softmax
from pyhw.nn.attention.linear import (
    BinaryLinearAttention,
    BinaryLinearCore,
    HeadNorm,
    TokenConvolution,
)
from pyhw.nn.attention.products import Context, Distances, Reading, Scores, Weighing
from pyhw.nn.attention.softmax import FORMS, ReducedAttention, SoftmaxAttention, SoftmaxCore

__all__ = [
    "FORMS", "Binarise", "BinaryLinearAttention", "BinaryLinearCore", "Context", "Distances",
    "HeadNorm", "Log2Softmax", "Reading", "ReducedAttention", "Scores", "SoftmaxAttention",
    "SoftmaxCore", "TokenConvolution", "Weighing",
]  # fmt: skip
