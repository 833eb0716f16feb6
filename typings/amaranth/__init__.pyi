# Amaranth has no annotations. mypy reads these stubs instead of it: everything is Any, except that
# enumerations are enumerations.
from typing import Any

def __getattr__(name: str) -> Any: ...
