"""How operations of the graph run on the accelerator, one module each."""

from . import concat, conv, permute, pointwise, pool
from .base import Context, Demands, LayerShape, Lowering, lowering_of, lowers

__all__ = ["Context", "Demands", "LayerShape", "Lowering", "concat", "conv", "lowering_of",
           "lowers", "permute", "pointwise", "pool"]  # fmt: skip
