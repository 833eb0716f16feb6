"""Instructions in tests: fields by name, whatever record has them."""

from amaranth.lib import data

from pyhw.hdl.records import RECORD_OF, Instruction

__all__ = ["flat", "run_value", "values_of"]


def flat(layer):
    """Return all fields of an `Instruction` as one dict."""
    return {name: value for record in layer.values().values() for name, value in record.items()}


def values_of(shape, fields):
    """Return what a record's port is set to: those of the fields that it has."""
    return {name: fields[name] for name in shape.members if name in fields}


def run_value(port, fields, total=0, start=0):
    """Return what a port of a `run_layout` is set to."""
    assert set(fields) <= set(RECORD_OF)
    members = port.shape().members
    return {name: values_of(shape, fields) for name, shape in members.items()
            if isinstance(shape, data.StructLayout)} | {"total": total, "start": start}


def encoded(form, **fields):
    """Return the bytes of an instruction."""
    return form.encode(Instruction.of(**fields))
