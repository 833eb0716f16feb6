"""A configuration as text: what it shows of itself."""

from dataclasses import fields, is_dataclass
from html import escape

__all__ = ["Shown"]


class Shown:
    """Text and, in a notebook, a table of all fields; a base of `Config`."""

    def _lines(self):
        rows = []
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name == "engines":
                rows += [(name, _values(engine)) for name, engine in value.items()]
            elif is_dataclass(value):
                rows.append((entry.name, _values(value)))
            elif entry.name != "name":
                rows.append((entry.name, str(value)))
        return [(name, text) for name, text in rows if text not in ("", "{}")]

    def _title(self):
        return f"Config {self.name}, {self.hash.hex()}"

    def __repr__(self):
        width = max(len(name) for name, _ in self._lines())
        return "\n".join([self._title(), *(f"  {name:{width}}  {text}"
                                           for name, text in self._lines())])

    def _repr_html_(self):
        rows = "".join(f'<tr><th style="text-align:left">{name}</th>'
                       f'<td style="text-align:left">{escape(text)}</td></tr>'
                       for name, text in self._lines())
        return f"<table><caption>{escape(self._title())}</caption><tbody>{rows}</tbody></table>"


def _values(part):
    """Return the fields of a unit in a line; of switches those that are on."""
    found = {entry.name: getattr(part, entry.name) for entry in fields(part)}
    return ", ".join(name if value is True else f"{name} {value}"
                     for name, value in found.items() if value is not False)
