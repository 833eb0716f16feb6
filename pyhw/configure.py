"""Choose a hardware configuration from the words of a command line."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyhw.errors import UserError
from pyhw.hdl.config import Config
from pyhw.hdl.config_file import config_from_json
from pyhw.hdl.engines.registry import POOLING, known_engines
from pyhw.hdl.presets import PRESETS
from pyhw.inputs import read_file

FITTED = Path(__file__).parent / "presets"
"""Configurations of ``pyhw fit``, one file each."""
MAX_FILE = 1 << 20
"""Most characters that a configuration file may have."""


def choose_config(
    preset: str | None = None, path: Path | None = None, changes: Sequence[str] = ()
) -> Config:
    """Return a preset or a configuration file, with single fields changed.

    Parameters
    ----------
    preset : str, optional
        Name in `PRESETS` or of a file in `FITTED`; ``default`` if neither is given.
    path : Path, optional
        JSON file as ``pyhw generate`` writes it; not together with ``preset``.
    changes : sequence of str
        ``field=value`` or ``unit.field=value``, as in ``groups=4``, ``post.width=2`` and
        ``l1.lanes=32``; also by flat names (`pyhw.hdl.config_names`), as in ``post_width=2``.
        ``engine=none`` takes an engine out. The changed configuration is named ``custom``, if
        ``name=...`` is not among the changes.

    Raises
    ------
    UserError
        If there is no such preset, file, field or value.
    """
    if preset is not None and path is not None:
        raise UserError("give a preset or a configuration file, not both")
    if path is not None:
        config = read_config(path)
    else:
        name = preset or "default"
        config = find_preset(name)
    original = config
    for change in changes:
        config = _change(config, change)
    if config.hash != original.hash and config.name == original.name:
        # A changed preset is not that preset, and its files are not that preset's.
        config = config.changed(name="custom")
    return config


def fitted() -> dict[str, Path]:
    """Return the configurations in the package that were fitted to a network and a device."""
    return {path.stem: path for path in sorted(FITTED.glob("*.json"))}


def find_preset(name: str) -> Config:
    """Return a preset, or a configuration of the package, by its name."""
    if name in PRESETS:
        return PRESETS[name]
    files = fitted()
    if name not in files:
        known = ", ".join([*PRESETS, *files])
        raise UserError(f"preset must be one of {known}, not {name!r}")
    return read_config(files[name])


def every_preset() -> list[Config]:
    """Return all presets and configurations of the package."""
    return [find_preset(name) for name in [*PRESETS, *fitted()]]


def config_given(program: Path, config_hash: bytes, preset: str | None, path: Path | None,
                 changes: Sequence[str]) -> Config | None:
    """Return what is chosen, or what a build's folder has beside its program, if it is for that."""
    if preset or path or changes:
        return choose_config(preset, path, changes)
    with contextlib.suppress(UserError):
        found = read_config(program.with_name("config.json"))
        if found.hash == config_hash:
            return found
    return None


def read_config(path: Path) -> Config:
    """Read a configuration file, or raise `UserError` with what is wrong with it."""
    return read_file(path, _load)


def _load(path: Path) -> Config:
    with path.open(encoding="utf-8") as file:
        try:
            text = file.read(MAX_FILE + 1)
        except UnicodeDecodeError:
            raise ValueError("Configuration must be text") from None
    if len(text) > MAX_FILE:
        raise ValueError(f"Configuration must be at most {MAX_FILE} characters long")
    return config_from_json(text)


def _change(config: Config, change: str) -> Config:
    name, equals, text = change.partition("=")
    if not equals:
        raise UserError(f"a change must be written field=value, not {change!r}")
    owner, dot, name = name.strip().rpartition(".")
    try:
        owner = owner.removeprefix("engines.")
        if owner != POOLING and owner in known_engines():
            if owner not in config.engines:
                has = " or ".join(config.engines)
                raise UserError(f"the configuration has no engine {owner!r}, only {has}")
            owner = f"engines.{owner}"
        return config.changed(**{f"{owner}{dot}{name}": _value(text)})
    except TypeError:
        raise UserError(f"the configuration has no field {change.partition('=')[0]!r}") from None
    except ValueError as error:
        raise UserError(f"--set {change}: {error}") from None


def _value(text: str) -> Any:
    """Read a value as JSON, with ``none`` for null, and any other word as text."""
    text = text.strip()
    if text.lower() == "none":
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
