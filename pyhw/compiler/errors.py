"""The compiler's one error: what does not fit or is not supported, and what to change."""

from pyhw.errors import UserError

__all__ = ["CompileError"]


class CompileError(UserError):
    """A layer cannot run on a configuration; the text names layer, reason and remedy."""

    def __init__(self, layer: str, reason: str, remedy: str):
        super().__init__(f"layer {layer!r}: {reason}; {remedy}")
