"""Things of one kind by name: what modules register, of the package or of a user's own."""

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

__all__ = ["Registry"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Registry(dict[K, T]):
    """Things of one kind by name or class; each is taken once.

    Parameters
    ----------
    what : str
        What a key is, as errors begin: "Engine name".
    error : type of Exception
        Raised for a key that is taken.
    things : mapping
        Those that are there from the beginning.
    """

    _every: "list[Registry[Any, Any]]" = []

    def __init__(self, what: str, error: type[Exception] = ValueError,
                 things: Mapping[K, T] | None = None) -> None:
        super().__init__(things or {})
        self._what, self._error = what, error
        self._every.append(self)

    def free(self, *keys: K) -> None:
        """Raise the registry's error if one of the keys is taken."""
        for key in keys:
            if key in self:
                name = key.__name__ if isinstance(key, type) else repr(key)
                raise self._error(f"{self._what} {name} is taken")

    def add(self, key: K, thing: T) -> T:
        """Add a thing and return it; the registry's error if its key is taken."""
        self.free(key)
        self[key] = thing
        return thing

    @classmethod
    def saved(cls) -> "list[tuple[Registry[Any, Any], dict[Any, Any]]]":
        """Return what all registries hold, for `restore`."""
        return [(one, dict(one)) for one in cls._every]

    @classmethod
    def restore(cls, saved: "list[tuple[Registry[Any, Any], dict[Any, Any]]]") -> None:
        """Take out what was registered since `saved`."""
        for one, things in saved:
            one.clear()
            one.update(things)
