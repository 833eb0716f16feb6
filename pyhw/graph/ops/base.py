"""The contract of an operation: what its module says about it, and where modules are found.

A new operation is one module with one class:

    @operation("negate")
    @dataclass(frozen=True, eq=False, kw_only=True)
    class Negate(Operation):
        name: str
        input: str
        ...

and nothing else in `pyhw.graph` changes: executor, verifier, exports, files, random networks and
tables loop over a graph's operations and ask each for its part. Another module says how it runs
on the accelerator (`pyhw.compiler.lowering`).

Methods take the maps that an operation reads, its *operands*, in order; the maps that its
post-processing adds are not among them, since every operation with a `Post` treats them alike.
Fields may be of the types that `pyhw.graph.schema` can store, so that files need no code.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from pyhw.hdl.formats import Format
from pyhw.hdl.registry import Registry
from pyhw.hdl.signed_digits import signed_digits

from ..post import Post
from ..records import Record

if TYPE_CHECKING:
    from torch import Tensor

    from ..compiled import Kernels
    from ..onnx_export import OnnxBuilder
    from ..random import Draw
    from ..random_limits import Limits

__all__ = ["OPERATIONS", "STORED", "Counts", "MapType", "Operation", "RecordType", "Shape",
           "Unary", "operand_types", "operation", "stored_record", "types_of"]  # fmt: skip

Shape = tuple[int, int, int]
"""Height, width, channels of one image's map."""


@dataclass(frozen=True, kw_only=True)
class RecordType:
    """What is known of the records of tokens: their heads, and bounds of what they hold."""

    heads: int
    """Records of a token; channels fall into this many equal blocks."""
    terms: int
    """Signed powers of two of a multiplier, its gain left out."""
    gain: int = 1
    """What every multiplier is scaled by: C of norms."""
    multiplier: int
    """Largest multiplier, the gain included."""
    bias: tuple[int, int]
    """Least and greatest bias."""
    shift: int
    """Largest shift."""

    @property
    def gain_digits(self) -> int:
        """Signed powers of two of the gain."""
        return len(signed_digits(self.gain, 30))

    FIELDS: ClassVar[int] = 3
    """Channels of a record in the executor's maps: multiplier, bias, shift."""


@dataclass(frozen=True)
class MapType:
    """What is known of a map before it is computed."""

    shape: Shape
    """Height, width, channels."""
    fmt: Format
    """Format of its stored values."""
    values: tuple[int, ...] | None = None
    """All values that can be stored, ascending, where they are fewer than the format's."""
    records: RecordType | None = None
    """Of records of tokens (`Stats`), which are no map and are read by post-processing alone."""

    @property
    def channels(self) -> int:
        """Channels of the map."""
        return self.shape[2]


@dataclass(kw_only=True)
class Counts:
    """What an operation does and holds for one image, its post-processing left out."""

    terms: int = 0
    """Terms summed or compared, every digit of a weight counted."""
    kind: str = ""
    """What they are called: the name of an engine's term, or ``pool``."""
    multiplications: int = 0
    """Products of two values."""
    additions: int = 0
    """Additions, subtractions and comparisons that sum up."""
    shifts: int = 0
    """Shifts of a value by a weight's exponent."""
    lookups: int = 0
    """Bytes or multipliers looked up in a table."""
    weights: int = 0
    """Weights, digits not counted."""
    weight_bits: int = 0
    """Bits of the stored weight codes."""
    shared_bits: Mapping[bytes, int] = field(default_factory=dict)
    """Bits of what several operations may share and a network holds once, by content."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation(Record, ABC):
    """Base of the operations of the integer graph: immutable records with what belongs to them.

    Subclasses are frozen keyword-only dataclasses with at least `name` and `inputs`, given to
    `operation`. Abstract methods are the contract; the others have a meaning that most keep.
    """

    name: str
    since: ClassVar[int] = 1
    """Version of graph files (`pyhw.graph.file`) that first has it."""
    constant: ClassVar[bool] = False
    """Whether it reads nothing and is the same for every image."""
    if TYPE_CHECKING:

        @property
        def inputs(self) -> tuple[str, ...]:
            """Values read: the operands, then residuals."""

    @property
    def posts(self) -> tuple[Post, ...]:
        """Post-processing that the operation ends in: one, or none."""
        return ()

    def with_post(self, post: Post) -> "Operation":
        """Return the operation with another post-processing; only for one that has some."""
        return replace(self, post=post)  # type: ignore[call-arg]

    @property
    def operands(self) -> tuple[str, ...]:
        """Values that the operation itself reads, residuals left out."""
        return self.inputs

    # Files -------------------------------------------------------------------------------------

    def stored(self) -> Any:
        """Return the record that a file holds of it: itself, or one given to `stored_record`."""
        return self

    def restored(self) -> "Operation":
        """Return the operation of a record that was read from a file."""
        return self

    # Inference and rules -----------------------------------------------------------------------

    @abstractmethod
    def infer(self, *operands: MapType) -> MapType:
        """Return shape and format of the value; `ValueError` if no value has them."""

    def check_fields(self, *operands: MapType) -> None:
        """Check the record's own fields beside its operands, before `infer` may rely on them.

        Raises
        ------
        ValueError
            With the operation's name and the rule (`pyhw.graph.rules.require`).
        """

    @abstractmethod
    def check_operands(self, *operands: MapType) -> None:
        """Check what formats it takes and what its weights may be with them; as `check_fields`."""

    def check_graph(self, ops: "Mapping[str, Operation]") -> None:
        """Check what it takes of the whole graph, its operations by name; as `check_fields`."""

    def per_token(self, *operands: MapType) -> bool:
        """Return whether a position of its value depends on that position of what it reads."""
        return False

    def acc_bounds(self, *operands: MapType) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the greatest accumulator, int64 (O,); with a `Post` only.

        Exact for an output position without padding, and a bound for the others: taps read
        different inputs, each anywhere in its format, and pad values lie in that format too.
        """
        raise NotImplementedError(f"{type(self).__name__} has no accumulators")

    def partial_bounds(self, *operands: MapType) -> tuple[np.ndarray, np.ndarray]:
        """Return bounds that also hold for every partial sum of terms, in any order, from 0."""
        low, high = self.acc_bounds(*operands)
        return np.minimum(low, 0), np.maximum(high, 0)

    # Meaning and exports -----------------------------------------------------------------------

    @abstractmethod
    def compute(self, values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]) -> np.ndarray:
        """Return what the operation means: its value, or its accumulators if it has a `Post`.

        Parameters
        ----------
        values : integer arrays (N, H, W, C)
            Stored values of the operands.
        operands : MapType
            What is known of them.

        Returns
        -------
        int64 array (N, H', W', C')
        """

    def compute_with(
        self, kernels: "Kernels", values: tuple[np.ndarray, ...], operands: tuple[MapType, ...]
    ) -> np.ndarray:
        """Return what `compute` does, int32 or int64, by compiled kernels where they can do it."""
        return self.compute(values, operands)

    def torch_buffers(self, *operands: MapType) -> dict[str, np.ndarray]:
        """Return the integer arrays that `torch_forward` needs, by name; they become buffers."""
        return {}

    @abstractmethod
    def torch_forward(
        self, tensors: "tuple[Tensor, ...]", buffers: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """Return what `compute` does, on int64 tensors with any N and with `torch_buffers`.

        To mean something it goes another way than `compute`. Torch is imported inside.
        """

    @abstractmethod
    def onnx_nodes(self, builder: "OnnxBuilder", *operands: str) -> str:
        """Add nodes of standard operators that compute the same; return the int64 result."""

    # Random networks and tables ----------------------------------------------------------------

    @classmethod
    def share(cls, limits: "Limits") -> float:
        """Return how often random networks draw one, as a weight beside the others'."""
        return 0.0

    @classmethod
    def draw(cls, draw: "Draw", name: str, last: str) -> "Operation | None":
        """Draw one that reads the value `last`; None if it is not possible.

        Its `Post`, if it has one, may be `pyhw.graph.post.DUMMY`: the caller fits it.
        """
        return None

    def counts(self, value: MapType, *operands: MapType) -> Counts:
        """Return what it does for one image; `value` is what it makes of its operands."""
        return Counts()

    def describe(self, *operands: MapType) -> str:
        """Return what it does, for people, post-processing left out."""
        return f"{type(self).__name__.lower()} {', '.join(self.operands)}".rstrip()


class Unary(Operation):
    """An operation that reads one value, `input`, and nothing else."""

    input: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values read: the input."""
        return (self.input,)


OPERATIONS: Registry[str, type[Operation]] = Registry("Operation name")
"""Operations by the name that files give them."""
STORED: Registry[str, type] = Registry("Operation name")
"""Records of files by their name: the operations, and other forms that some are stored in."""

_T = TypeVar("_T", bound=type)


def operation(kind: str) -> Callable[[_T], _T]:
    """Register the class of an operation by the name that files give it.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def register(cls: _T) -> _T:
        stored_record(kind)(cls)
        OPERATIONS.add(kind, cls)
        return cls

    return register


def stored_record(kind: str) -> Callable[[_T], _T]:
    """Register a record that files hold in place of an operation; it has `restored`."""

    def register(cls: _T) -> _T:
        STORED.add(kind, cls)
        return cls

    return register


def types_of(ops: Iterable[Operation]) -> dict[str, MapType]:
    """Return shape and format of every value by name, as `types`, of operations in order."""
    found: dict[str, MapType] = {}
    for op in ops:
        found[op.name] = op.infer(*operand_types(op, found))
    return found


def operand_types(op: Operation, given: Mapping[str, MapType]) -> tuple[MapType, ...]:
    """Return what is known of an operation's operands, residuals left out."""
    return tuple(given[name] for name in op.operands)
