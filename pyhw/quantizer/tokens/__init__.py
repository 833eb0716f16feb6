"""Transformers: kinds of stages that work on tokens, one module each."""

from ..token_kinds import KINDS, Context, TokenKind, kind_of, token_kind
from . import attention, linear, moves, norm
from .norm import fold_norms

__all__ = ["KINDS", "Context", "TokenKind", "attention", "fold_norms", "kind_of", "linear",
           "moves", "norm", "token_kind"]  # fmt: skip
