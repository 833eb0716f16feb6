"""Forms of attention between tokens."""

from pyhw.nn.attention.products import Scores, Weighing
from pyhw.nn.attention.softmax import SoftmaxAttention, SoftmaxCore

__all__ = ["Scores", "SoftmaxAttention", "SoftmaxCore", "Weighing"]
