import enum
from enum import auto as auto
from enum import unique as unique
from typing import Any

class Enum(enum.Enum):  # type: ignore[misc]  # no members, to be subclassed
    def __init_subclass__(cls, *, shape: Any = ..., view_class: Any = ...) -> None: ...

class IntEnum(enum.IntEnum):  # type: ignore[misc]  # no members, to be subclassed
    def __init_subclass__(cls, *, shape: Any = ..., view_class: Any = ...) -> None: ...

class Flag(enum.Flag):  # type: ignore[misc]  # no members, to be subclassed
    def __init_subclass__(cls, *, shape: Any = ..., view_class: Any = ...) -> None: ...

class IntFlag(enum.IntFlag):  # type: ignore[misc]  # no members, to be subclassed
    def __init_subclass__(cls, *, shape: Any = ..., view_class: Any = ...) -> None: ...
