"""A ternary engine: weights -1, 0 and 1 in two bits (``docs/extend.md``).

    pyhw.extend("examples/extend/ternary")

``gateware`` is the hardware, ``host`` what compiler and fitter ask, ``term`` what it computes, and
``layers`` how such weights are trained; pyhw imports that one itself, when PyTorch is at work.
"""

from . import gateware, host, term

__all__ = ["gateware", "host", "term"]
