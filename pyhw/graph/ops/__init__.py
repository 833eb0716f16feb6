# ruff: noqa: I001  (random networks draw in the order in which operations are registered)
"""The operations of the integer graph, one module each.

A value is a map of shape (H, W, C) per image, integers in a `Format`. A record says what is
computed; its class says all that is to know about it (`pyhw.graph.ops.base.Operation`), and
`compute` is the one meaning. Source of the arithmetic: ``docs/numerics.md``.
"""

from ..post import Post, Step
from .base import OPERATIONS, Counts, MapType, Operation, Shape, operation
from .input import Input
from .conv import Conv
from .masked_conv import StoredMasked
from .pool import Pool
from .pointwise import Pointwise
from .concat import Concat
from .permute import Permute
from .constant import Constant
from .slice import Slice
from .transpose import Transpose
from .matmul import MatMul
from .stats import Stats
from .route import Experts, Route
from .graph import Graph
from .processed import Processed, Windowed

__all__ = [
    "OPERATIONS", "Concat", "Constant", "Conv", "Counts", "Experts", "Graph", "Input", "MapType",
    "MatMul", "Operation", "Permute", "Pointwise", "Pool", "Post", "Processed", "Route", "Shape",
    "Slice", "Stats", "Step", "StoredMasked", "Transpose", "Windowed", "operation",
]  # fmt: skip
