"""Checks of the fields of a configuration's records."""

from dataclasses import fields

__all__ = ["check_all", "checked"]


def checked(owner, name, value, low, high):
    """Raise `ValueError` unless a value is an integer within limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{owner}.{name} must be an integer from {low} to {high}, not {value!r}")


def check_all(part, owner, **limits):
    """Check the integers of a part by their limits, and that all other fields are switches."""
    for entry in fields(part):
        value = getattr(part, entry.name)
        if entry.name in limits:
            checked(owner, entry.name, value, *limits[entry.name])
        elif not isinstance(value, bool):
            raise ValueError(f"{owner}.{entry.name} must be true or false, not {value!r}")
