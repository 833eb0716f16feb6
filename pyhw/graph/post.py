"""Post-processing records: how an accumulator becomes a stored value.

Source of the arithmetic: ``docs/numerics.md``.
"""

from dataclasses import dataclass, field

import numpy as np

from pyhw.hdl.formats import Format

from .records import Record, frozen_array

__all__ = ["DUMMY", "Post", "Step", "freeze_terms", "token_step"]

Terms = list[tuple[np.ndarray, np.ndarray]]
"""Signed powers of two, as `pyhw.hdl.formats.apply_terms` takes them."""


@dataclass(frozen=True, eq=False)
class Step(Record):
    """One scale-add-round-clamp step, per output channel.

    ``clamp((A(v; m) + A(res; r) + bias + half) >> shift)`` to `fmt`. Exponents of absent terms
    (sign 0) are stored as 0.

    Parameters
    ----------
    m_sign, m_exponent : int8 array (T, C)
        Terms of the multiplier m: signs in {-1, 0, 1}, exponents 0..16.
    bias : int64 array (C,)
        B, a signed 32-bit integer.
    shift : int8 array (C,)
        S, 0..31.
    fmt : Format
        Format of the result.
    r_sign, r_exponent : int8 array (T, C), optional
        Terms of the residual's multiplier r; present if and only if there is a residual.
    """

    m_sign: np.ndarray
    m_exponent: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    fmt: Format
    r_sign: np.ndarray | None = None
    r_exponent: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._set("bias", frozen_array("Step", "bias", self.bias, np.int64, 1))
        self._set("shift", frozen_array("Step", "shift", self.shift, np.int8, 1))
        if not isinstance(self.fmt, Format):
            raise TypeError(f"Step.fmt must be a Format, not {self.fmt!r}")
        if (self.r_sign is None) != (self.r_exponent is None):
            raise ValueError("Step.r_sign and Step.r_exponent must be given together")
        freeze_terms(self, "Step", "m_sign", "m_exponent")
        if self.r_sign is not None:
            freeze_terms(self, "Step", "r_sign", "r_exponent")
        for name in ("m_sign", "shift", "r_sign"):
            array = getattr(self, name)
            if array is not None and array.shape[-1] != self.channels:
                raise ValueError(
                    f"Step.{name} must have the {self.channels} channels of the bias, "
                    f"not shape {array.shape}"
                )

    @property
    def channels(self) -> int:
        """Channels that the step serves."""
        return int(self.bias.shape[0])

    @property
    def m(self) -> Terms:
        """Terms of m: T pairs of int64 arrays (C,)."""
        return _terms(self.m_sign, self.m_exponent)

    @property
    def r(self) -> Terms:
        """Terms of r, as `m`; empty without a residual."""
        if self.r_sign is None or self.r_exponent is None:
            return []
        return _terms(self.r_sign, self.r_exponent)


def freeze_terms(record: Record, owner: str, sign: str, exponent: str, ndim: int = 2) -> None:
    """Freeze the two arrays of signed powers of two; exponents of zeros become 0."""
    signs = frozen_array(owner, sign, getattr(record, sign), np.int8, ndim)
    exponents = frozen_array(owner, exponent, getattr(record, exponent), np.int8, ndim)
    if signs.shape != exponents.shape:
        raise ValueError(
            f"{owner}.{exponent} must have the shape {signs.shape} of {owner}.{sign}, "
            f"not {exponents.shape}"
        )
    exponents = np.where(signs == 0, 0, exponents).astype(np.int8)
    exponents.setflags(write=False)
    record._set(sign, signs)
    record._set(exponent, exponents)


def _terms(sign: np.ndarray, exponent: np.ndarray) -> Terms:
    return list(zip(sign.astype(np.int64), exponent.astype(np.int64)))


@dataclass(frozen=True, eq=False)
class Post(Record):
    """What happens to an accumulator on its way to the stored value.

    ``u`` = `first` step of the accumulator (plus `residual`); ``y`` = ``table[u & 0xff]``, or u
    without a table; ``z`` = `second` step of y (plus `residual2`), or y without one.

    Parameters
    ----------
    first : Step
    table : int16 array (256,), optional
        Any function of an at most 8-bit u; values in `table_format`.
    table_format : Format, optional
        Format of y; given with `table`.
    second : Step, optional
        Batch norm or a residual after the activation; reads an at most 8-bit y.
    residual, residual2 : str, optional
        Names of the values added in the first and in the second step.
    token : str, optional
        Name of the records of tokens (`pyhw.graph.ops.Stats`) that give the first step's m, B and
        S in place of the channel; the step's own are those of `token_step` then.
    """

    first: Step
    table: np.ndarray | None = None
    table_format: Format | None = None
    second: Step | None = None
    residual: str | None = None
    residual2: str | None = None
    token: str | None = field(default=None, metadata={"since": 4})

    def __post_init__(self) -> None:
        if (self.table is None) != (self.table_format is None):
            raise ValueError("Post.table and Post.table_format must be given together")
        if self.table is not None:
            table = frozen_array("Post", "table", self.table, np.int16, 1)
            if table.shape != (256,):
                raise ValueError(f"Post.table must have 256 entries, not {table.shape[0]}")
            self._set("table", table)

    @property
    def y_format(self) -> Format:
        """Format after the table, before the second step."""
        return self.first.fmt if self.table_format is None else self.table_format

    @property
    def format(self) -> Format:
        """Format of the stored value."""
        return self.y_format if self.second is None else self.second.fmt

    @property
    def values(self) -> tuple[int, ...] | None:
        """All values that can be stored if they come out of the table, ascending; else None."""
        if self.table is None or self.second is not None:
            return None
        fmt = self.first.fmt
        return tuple(np.unique(self.table[np.arange(fmt.min, fmt.max + 1) & 0xFF]).tolist())

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of all values that it reads: those added, then the records of tokens."""
        return self.residuals if self.token is None else (*self.residuals, self.token)

    @property
    def residuals(self) -> tuple[str, ...]:
        """Names of the values added, first step first."""
        return tuple(name for name in (self.residual, self.residual2) if name is not None)


def token_step(channels: int, fmt: Format) -> Step:
    """Return the first step of a post-processing with records of tokens: m = 1, B = S = 0."""
    zero = np.zeros((1, channels), np.int8)
    return Step(zero + 1, zero, zero[0], zero[0], fmt)


_ZERO = np.zeros((1, 1), np.int8)
DUMMY = Post(Step(_ZERO, _ZERO, _ZERO[0], _ZERO[0], Format(8)))
"""Stands in an operation until its post-processing is known."""
