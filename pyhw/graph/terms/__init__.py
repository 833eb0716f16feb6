"""What convolutions sum, one module a term: rules, bounds, meaning and exports."""

from . import l1, shift
from .base import TERMS, Term, term, term_of

__all__ = ["TERMS", "Term", "l1", "shift", "term", "term_of"]
