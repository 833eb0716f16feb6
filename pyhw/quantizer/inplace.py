"""Changes in place made explicit: whatever reads a changed tensor later reads the new value."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx

__all__ = ["explicit"]


def explicit(
    graph: fx.Graph, changed: Mapping[fx.Node, list[fx.Node]], values: Mapping[fx.Node, Any]
) -> dict[fx.Node, str]:
    """Let every reader after a change in place read the call that made it, in place.

    PyTorch changes the one tensor that several names may stand for (what an Identity or a Dropout
    returns is what it was given); in the graph they are values of their own.

    Parameters
    ----------
    graph : fx.Graph
        Rewritten.
    changed : mapping of fx.Node to list of fx.Node
        Calls that change tensors, and the earlier nodes that are changed.
    values : mapping of fx.Node to object
        What every node is.

    Returns
    -------
    dict of fx.Node to str
        Calls that read a changed tensor in a form that cannot be given to them, and why.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    problems: dict[fx.Node, str] = {}
    for node, earlier in changed.items():
        for old in earlier:
            later = [user for user in old.users if order[user] > order[node]]
            for user in later:
                if _same(values.get(node), values.get(old)):
                    user.replace_input_with(old, node)
                else:
                    problems[user] = (
                        f"it reads {old.name}, a part or another form of what {node.name} changes "
                        "in place; use inplace=False there"
                    )
    return problems


def _same(a: Any, b: Any) -> bool:
    """Return whether two values are one tensor, the same elements in the same order."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return False
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
