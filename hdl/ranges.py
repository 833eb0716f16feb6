"""Ranges of instruction fields: what a specialised accelerator's control does not hold."""

from amaranth.hdl import Cat, Const

from .isa import INPUT
from .records import RECORDS

__all__ = ["LAYOUTS", "checked_ranges", "full_range", "narrowed", "value_bits"]

LAYOUTS = {"input": INPUT} | {name: record.layout() for name, record in RECORDS.items()}
"""Layouts with ranges, by the first word of a field's name, as in ``nest.n_x``."""


def full_range(name):
    """Return lowest and highest value that a field's layout has room for; `KeyError` if none."""
    layout, _, field = name.partition(".")
    field = LAYOUTS[layout].fields[field]
    return field.low, field.high


def checked_ranges(ranges):
    """Return ranges as a sorted dict of name to (lowest, highest); `ValueError` if wrong."""
    if not isinstance(ranges, dict):
        raise ValueError(f"Config.ranges must be a mapping of fields, not {ranges!r}")
    checked = {}
    for name, pair in sorted(ranges.items()):
        try:
            least, most = full_range(name)
        except (KeyError, AttributeError):
            raise ValueError("Config.ranges must name fields of records, such as 'nest.n_x', "
                             f"not {name!r}") from None
        if (not isinstance(pair, list | tuple) or len(pair) != 2
                or any(not isinstance(end, int) or isinstance(end, bool) for end in pair)
                or not least <= pair[0] <= pair[1] <= most):
            raise ValueError(f"Config.ranges[{name!r}] must be two integers in order from {least} "
                             f"to {most}, not {pair!r}")
        checked[name] = tuple(pair)
    return checked


def value_bits(low, high):
    """Return the bits that tell values from `low` to `high` apart, a sign among them."""
    return max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length()
               ) + (low < 0)


def narrowed(config, name, raw):
    """Return a record's bits with every field kept to its range.

    Upper bits become what the range makes of them: zeros, or copies of the sign; a field with one
    value becomes that value. Registers behind bits that fall away go in synthesis.

    Parameters
    ----------
    config : Config
    name : str
        The record's name in `LAYOUTS`.
    raw : Value
        The record's bits.

    Returns
    -------
    Value
    """
    fields, offset = [], 0
    for field in LAYOUTS[name].fields.values():
        part = raw[offset:offset + field.width]
        offset += field.width
        low, high = config.range_of(f"{name}.{field.name}")
        bits = value_bits(low, high)
        if low == high:
            part = Const(low & ((1 << field.width) - 1), field.width)
        elif bits < field.width:
            sign = part[bits - 1] if low < 0 else Const(0)
            part = Cat(part[:bits], sign.replicate(field.width - bits))
        fields.append(part)
    return Cat(fields)
