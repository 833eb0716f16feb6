"""The description in a program file: every entry of it is checked before anything uses it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pyhw.hdl.formats import Format
from pyhw.hdl.isa import INPUT, Space, input_record

from .allocate import Placement
from .stored import Layer, StoredMap

__all__ = ["read_description"]

T = TypeVar("T")
Check = Callable[[Any, str], Any]

MOST_BATCH = 1 << 16
MOST_LAYERS = 1 << 14
MOST_BELOW = 1024
"""Rows of padding below an image."""
MOST_NAME = 1000
"""Characters of a name."""


def read_description(meta: Any, body: bytes) -> dict[str, Any]:
    """Return the fields of a `Program` that a file describes.

    Parameters
    ----------
    meta : object
        What its JSON holds.
    body : bytes
        The sections, one after the other.

    Raises
    ------
    ValueError
        If an entry is missing, unknown, of another type or out of its range: which one.
    """
    found = _record(_FIELDS)(meta, "the description")
    sections, offset = [], 0
    for space, word, size in found["sections"]:
        sections.append((space, word, body[offset:offset + size]))
        offset += size
    if offset != len(body):
        raise ValueError(f"sections must take the {len(body)} bytes of the file, not {offset}")
    found["sections"] = sections
    found["second_buffers"] = tuple(found["second_buffers"])
    for space, word, raw in sections:
        if space is Space.INPUT:
            _check_unfolding(word, raw, found["input_shape"], found["input"])
    if found["batch"] % found["groups"]:
        raise ValueError(f"batch must be a multiple of groups {found['groups']}, "
                         f"not {found['batch']}")  # fmt: skip
    if len(found["second_buffers"]) not in (0, 2):
        raise ValueError("second_buffers must be none or two maps, not "
                         f"{len(found['second_buffers'])}")  # fmt: skip
    names = {place.name for place in found["placements"]}
    for place in found["placements"]:
        if place.last < place.first:
            raise ValueError(f"placements: {place.name!r:.60} must lie from a layer to a later one"
                             f", not {place.first} to {place.last}")  # fmt: skip
        if place.replaces and place.replaces not in names:
            raise ValueError(f"placements: {place.name!r:.60} must take the place of a map that is "
                             f"there, not of {place.replaces!r:.60}")  # fmt: skip
    return found


def _check_unfolding(word: int, raw: bytes, image: tuple[int, int, int], stored: StoredMap) -> None:
    """Refuse a record that is not that of an image and its map: images would be written for long.

    An accelerator has no other bound for the bytes that it writes for one of an image.
    """
    if word or len(raw) != INPUT.bytes:
        raise ValueError(f"the INPUT record must be {INPUT.bytes} bytes at word 0, "
                         f"not {len(raw)} at {word}")  # fmt: skip
    record = INPUT.decode(raw)
    (height, width, channels), rows = image, stored.shape[0]
    pads = [record[f"pad_value{c}"] for c in range(4)]
    fold, stride, pad = (record[name] for name in ("fold", "stride", "pad"))
    plain = input_record(width=width * channels, rows=height, channels=1, pad_values=pads)
    folded = input_record(width=width, rows=height, channels=channels, fold=fold,
                          stride=stride or 1, pad=pad, out_rows=rows, pad_values=pads)  # fmt: skip
    right = record == folded and stored.shape == (rows, width, fold * channels)
    if record != plain and not (right and fold and 0 < rows * stride <= height + pad + MOST_BELOW):
        raise ValueError("the INPUT record must unfold images of input_shape into the input's map")


def _number(least: int, most: int) -> Check:
    def check(value: Any, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{name} must be a whole number from {least} to {most}, "
                             f"not {value!r:.40}")  # fmt: skip
        return value

    return check


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > MOST_NAME:
        raise ValueError(f"{name} must be a text of at most {MOST_NAME} characters, "
                         f"not {value!r:.40}")  # fmt: skip
    return value


def _truth(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r:.40}")
    return value


def _hash(value: Any, name: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{16}", value):
        raise ValueError(f"{name} must be 16 hexadecimal digits, not {value!r:.40}")
    return bytes.fromhex(value)


def _list(check: Check, least: int, most: int) -> Check:
    def checked(value: Any, name: str) -> list[Any]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise ValueError(f"{name} must be a list of {least} to {most} entries, "
                             f"not {value!r:.40}")  # fmt: skip
        return [check(entry, f"{name}[{number}]") for number, entry in enumerate(value)]

    return checked


def _record(fields: Mapping[str, Check]) -> Check:
    def check(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{name} must be a table, not {value!r:.40}")
        wrong = set(value) ^ set(fields)
        if wrong:
            state = "miss" if min(wrong) in fields else "have"
            raise ValueError(f"{name} must not {state} an entry {min(wrong)!r:.60}")
        return {field: check(value[field], field if name == "the description" else
                             f"{name}.{field}") for field, check in fields.items()}  # fmt: skip

    return check


def _made(make: Callable[..., T], fields: Mapping[str, Check]) -> Check:
    record = _record(fields)
    return lambda value, name: make(**record(value, name))


def _shape(value: Any, name: str) -> tuple[int, int, int]:
    height, width, channels = _list(_number(1, _WORD), 3, 3)(value, name)
    if height * width * channels > _WORD:
        raise ValueError(f"{name} must be of less than 2^32 values, not {value!r:.60}")
    return height, width, channels


def _section(value: Any, name: str) -> tuple[Space, int, int]:
    if not isinstance(value, list) or len(value) != 3 or value[0] not in list(Space.__members__):
        raise ValueError(f"{name} must be a space, a word and a number of bytes, "
                         f"not {value!r:.60}")  # fmt: skip
    word, size = (_number(0, _WORD)(part, name) for part in value[1:])
    return Space[value[0]], word, size


def _map(value: Any, name: str) -> StoredMap:
    stored: StoredMap = _made(StoredMap, _MAP)(value, name)
    height, width, channels = stored.shape
    least = height * width * channels * Format.parse(stored.fmt).bytes
    if stored.slot_bytes < least:
        raise ValueError(f"{name}.slot_bytes must be at least {least} for its map, "
                         f"not {stored.slot_bytes}")  # fmt: skip
    return stored


def _format(value: Any, name: str) -> str:
    try:
        return str(Format.parse(value))
    except (ValueError, TypeError):
        raise ValueError(f"{name} must be a format such as 'u8', not {value!r:.40}") from None


_WORD = (1 << 32) - 1
_NATURAL = _number(0, _WORD)
_MAP: dict[str, Check] = {
    "name": _text, "shape": _shape, "fmt": _format, "base": _NATURAL, "slot_bytes": _NATURAL,
}
_LAYER: dict[str, Check] = {
    "name": _text, "engine": _text, "target": _map, "useful_terms": _number(0, (1 << 63) - 1),
    "digits": _number(0, 255), "complete": _truth,
}
_PLACE: dict[str, Check] = {
    "name": _text, "base": _NATURAL, "size": _number(1, _WORD),
    "first": _number(-1, 2 * MOST_LAYERS), "last": _number(-1, 2 * MOST_LAYERS), "replaces": _text,
}
_FIELDS: dict[str, Check] = {
    "name": _text, "graph": _text, "config_hash": _hash,
    "batch": _number(1, MOST_BATCH), "groups": _number(1, MOST_BATCH),
    "input": _map, "output": _map, "input_shape": _shape,
    "layers": _list(_made(Layer, _LAYER), 1, MOST_LAYERS),
    "placements": _list(_made(Placement, _PLACE), 1, 4 * MOST_LAYERS),
    "sections": _list(_section, 0, 256),
    "second_buffers": _list(_map, 0, 2),
}
