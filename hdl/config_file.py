"""Configurations as JSON text, the flat form of older files included."""

import json
import re
from dataclasses import asdict, fields

from .config import ISA_VERSION, PARTS, Config, EngineConfig
from .config_names import path_of
from .records import RECORD_OF

__all__ = ["config_from_json", "config_to_json"]

READ_VERSIONS = (3, ISA_VERSION)
"""Versions of the instruction set whose configurations are read."""


def config_to_json(config):
    """Return a configuration as JSON text."""
    text = json.dumps({"isa": ISA_VERSION} | asdict(config), indent=2) + "\n"
    return re.sub(r"\[\s+(-?\d+),\s+(-?\d+)\s+\]", r"[\1, \2]", text)


def config_from_json(text):
    """Read a configuration; `ValueError` says in one line what is wrong with it."""
    try:
        record = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"Configuration must be JSON: {error}") from None
    if not isinstance(record, dict):
        raise ValueError("Configuration must be a JSON object")
    version = record.pop("isa", None)
    if version not in READ_VERSIONS:
        raise ValueError(f"Configuration must be of instruction-set version {ISA_VERSION}, "
                         f"not {version!r}")
    if "engines" not in record:
        record = _nested(record)
    if version != ISA_VERSION and isinstance(record.get("ranges"), dict):
        record["ranges"] = _by_record(record["ranges"])
    engines = record.get("engines")
    if not isinstance(engines, dict):
        raise ValueError(f"Config.engines must be an object, not {engines!r}")
    record["engines"] = {name: _build(EngineConfig, engine, f"engines.{name}")
                         for name, engine in engines.items()}
    for name, part in PARTS.items():
        if name in record:
            record[name] = _build(part, record[name], name)
    return _build(Config, record)


def _nested(record):
    """Return the nested form of a flat one; what is no field stays where it is."""
    out = {"engines": {}}
    for name, value in record.items():
        part, own = path_of(name)
        if part == "engines" and value is None:
            continue
        (out.setdefault(part, {}) if part else out)[own] = value
    return out


def _by_record(ranges):
    """Return ranges of version 3, where one record had all fields and there were loops."""
    out = {}
    for name, pair in ranges.items():
        layout, _, field = name.partition(".")
        if layout == "layer" and field in RECORD_OF:
            name = f"{RECORD_OF[field]}.{field}"
        if not name.startswith("layer.loop_"):
            out[name] = pair
    return out


def _build(cls, record, name=""):
    """Make a record of a unit, or the configuration itself."""
    owner = f"Config.{name}" if name else "Config"
    if not isinstance(record, dict):
        raise ValueError(f"{owner} must be an object, not {record!r}")
    if unknown := sorted(set(record) - {entry.name for entry in fields(cls)}):
        raise ValueError(f"{owner} has no field {unknown[0]!r}")
    try:
        return cls(**record)
    except TypeError as error:
        raise ValueError(f"{owner}: {str(error).split('__init__() ')[-1]}") from None
