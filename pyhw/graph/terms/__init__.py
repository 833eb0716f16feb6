"""What convolutions sum, one module a term: rules, bounds, meaning and exports.

The engines with weights of this package have a module each, of their name.
"""

from importlib import import_module

from pyhw.hdl.engines.registry import WITH_WEIGHTS

from .base import TERMS, Bounds, Term, coded_term, distance_term, masked_term, term, term_of
from .linear import LinearTerm
from .pairs import PairTerm

__all__ = ["TERMS", "Bounds", "LinearTerm", "PairTerm", "Term", "coded_term", "distance_term",
           "masked_term", "term", "term_of"]

for _name in WITH_WEIGHTS:
    import_module(f"{__name__}.{_name}")
