"""The contract of lowering: how an operation of the graph runs on the accelerator.

A new operation is one module here with one class, given to `lowers`, beside its module in
`pyhw.graph.ops`; compiler and fitter ask `lowering_of` and know no operation themselves.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pyhw.graph.ops import Conv, Input, MapType, Operation
from pyhw.hdl.config import Config
from pyhw.hdl.registry import Registry

from ..errors import CompileError
from ..job import Job
from ..maps import Map

__all__ = ["Context", "Demands", "LayerShape", "Lowering", "lowering_of", "lowers"]


@dataclass(frozen=True)
class Context:
    """What lowering an operation may look at.

    Attributes
    ----------
    config : Config
    maps : dict of str to Map
        Every value as it lies in memory.
    fold : int
        Kernel rows that the input is stored with as channels, of the operation that reads it so.
    """

    config: Config
    maps: Mapping[str, Map]
    fold: int = 1


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """What one layer does for one image, whatever the size of the engines is.

    Attributes
    ----------
    name, engine : str
        Engine: the name of a term, or 'pool'.
    positions, columns : int
        Output positions, and those of a row.
    channels : int
        Output channels.
    block : int
        Most channels that may share a block: those that see the same inputs.
    runs, run : int
        Runs of a window, and bytes of each.
    digits : int
    chain : tuple of (int, int), optional
        Kernel width of a layer that chains of taps can run, and the columns of it that may go
        through a chain together if there are so many taps.
    masked : bool
        Whether a weight expander can make its codes.
    pads : bool
        Whether pad values lie beside the weights.
    residual : bool
        Whether a stored map is added.
    serial : bool
        Whether results are stored one by one (more than 8 bits).
    content : str
        Hash of its weights and pad values: equal layers share the words that hold them.
    """

    name: str
    engine: str
    positions: int
    columns: int
    channels: int
    block: int
    runs: int
    run: int
    digits: int = 1
    chain: tuple[int, int] | None = None
    masked: bool = False
    pads: bool = False
    residual: bool = False
    serial: bool = False
    content: str = ""


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What an operation needs of any accelerator, its post-processing left out.

    Attributes
    ----------
    layers : int
        Most layers that it becomes on large enough engines.
    pool_sum : int
        Largest magnitude of a sum that the pooling unit makes; 0 without one.
    pool_max : bool
        Whether the pooling unit takes maxima.
    wide : bool
        Whether a map of more than 8 bits is read in the residual's place.
    index_entries : int
        Positions of an index list.
    conv : Conv, optional
        The convolution for an engine, if it is one.
    """

    layers: int = 1
    pool_sum: int = 0
    pool_max: bool = False
    wide: bool = False
    index_entries: int = 0
    conv: Conv | None = None


_Op = TypeVar("_Op", bound=Operation)


class Lowering(ABC, Generic[_Op]):
    """How the operations of one class run on the accelerator."""

    @abstractmethod
    def jobs(self, op: _Op, context: Context) -> list[Job]:
        """Return the jobs of an operation, in order.

        Raises
        ------
        CompileError
            If the configuration cannot run it; with what would.
        """

    @abstractmethod
    def shapes(self, op: _Op, known: Mapping[str, MapType]) -> Iterable[LayerShape]:
        """Return the layers that it becomes on large enough engines, for a bound of cycles.

        `known` holds at least what it reads and its own value.
        """

    def demands(self, op: _Op, known: Mapping[str, MapType]) -> Demands:
        """Return what it needs of any accelerator."""
        return Demands()

    def unfolds(self, op: _Op, source: Input, config: Config) -> Conv | None:
        """Return it if it is faster where the images are stored with kernel rows as channels."""
        return None


_LOWERINGS: Registry[type[Operation], Lowering[Any]] = Registry("Lowering of")


def lowers(kind: type[Operation]) -> Callable[[type[Lowering[Any]]], type[Lowering[Any]]]:
    """Register the lowering of a class of operations.

    Raises
    ------
    ValueError
        If the class has one.
    """

    def register(cls: type[Lowering[Any]]) -> type[Lowering[Any]]:
        _LOWERINGS.add(kind, cls())
        return cls

    return register


def lowering_of(op: Operation) -> Lowering[Any]:
    """Return how an operation runs on the accelerator.

    Raises
    ------
    CompileError
        If it does not.
    """
    found = _LOWERINGS.get(type(op))
    if found is None or any(post.token is not None for post in op.posts):
        what = f"{type(op).__name__} does not run" if found is None else (
            "records of tokens do not run")
        raise CompileError(op.name, f"{what} on the accelerator",
                           "evaluate or export the graph, or give the operation a lowering")
    return found
