"""What reference implementations call their tensors, as tables from their names to pyhw's."""

from pyhw.nn.kinds import KINDS, Source
from pyhw.nn.models.published import SOURCES

__all__ = ["PREFIXES", "WRAPPERS", "Source", "sources"]

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Entries under which training scripts keep the tensors."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and DDP, and `torch.compile`, put before every name, in any order."""


def sources() -> dict[str, Source]:
    """Return the reference implementations by name: of kinds of layers, and of transformers."""
    kinds = {name: found for kind in KINDS.values() for name, found in kind.sources.items()}
    return kinds | SOURCES
