"""Reading documents of models strictly: what is missing, too much or of another kind is an error, never guessed.

A model's parts are kept as JSON that says its format and version. A reader of version 1 refuses version 2 rather than
leave out what it does not know. No document can make a reader run anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpc.errors import UsageError


@dataclass(frozen=True)
class Document:
    """A JSON object whose keys are read one by one, each checked.

    Attributes:
        fields: the object.
        what: which document it is, for errors.
    """

    fields: Mapping[str, object]
    what: str

    def _of(self, key: str, kind: type | tuple[type, ...], words: str) -> object:
        value = self.fields[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UsageError(f"{self.what}: {key!r} is to be {words}. Make the document anew, by this library.")
        return value

    def text(self, key: str) -> str:
        """A text."""
        value = self._of(key, str, "a text")
        return value if isinstance(value, str) else ""

    def flag(self, key: str) -> bool:
        """True or false."""
        return self._of(key, bool, "true or false") is True

    def whole(self, key: str) -> int:
        """A whole number, not negative."""
        value = self._of(key, int, "a whole number")
        if not isinstance(value, int) or value < 0:
            raise UsageError(f"{self.what}: {key!r} is not to be negative. Make the document anew, by this library.")
        return value

    def number(self, key: str) -> float:
        """A finite number; canonical JSON writes 1.0 as 1, so that whole ones are numbers, too."""
        value = self._of(key, (int, float), "a number")
        return _finite(value, self.what, key)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        return tuple(_finite(value, self.what, key) for value in self.items(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            raise UsageError(f"{self.what}: {key!r} is to be a list of texts. Make the document anew, by this library.")
        return tuple(str(value) for value in values)

    def items(self, key: str) -> Sequence[object]:
        """A list of anything."""
        value = self._of(key, list, "a list")
        return value if isinstance(value, list) else []

    def object(self, key: str) -> Mapping[str, object]:
        """An object of its own."""
        value = self._of(key, Mapping, "an object")
        return value if isinstance(value, Mapping) else {}

    def is_null(self, key: str) -> bool:
        """Whether nothing is given."""
        return self.fields[key] is None


def read(document: object, keys: Sequence[str], *, what: str) -> Document:
    """Take a JSON object that has these keys and no others.

    Raises:
        UsageError: another kind of thing, or other keys.
    """
    if not isinstance(document, Mapping):
        raise UsageError(f"{what} is a JSON object, not {type(document).__name__}.")
    found, wanted = {str(key) for key in document}, set(keys)
    if found != wanted:
        missing, surplus = sorted(wanted - found), sorted(found - wanted)
        raise UsageError(
            f"{what} does not fit: missing {missing[:5]}, unknown {[name[:40] for name in surplus[:5]]}. "
            "Make it anew, by the version of this library that reads it."
        )
    return Document(document, what)


def read_version(document: object, keys: Sequence[str], *, what: str, version: int = 1) -> Document:
    """As ``read``, of a document that says its format, which is `what`, and its version.

    Raises:
        UsageError: another format or version.
    """
    if isinstance(document, Mapping) and (document.get("format"), document.get("version")) != (what, version):
        raise UsageError(
            f"This is no {what} of version {version}: read it by the version of this library that wrote it."
        )
    return read(document, ("format", "version", *keys), what=what)


def _finite(value: object, what: str, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{what}: {key!r} is to hold finite numbers. Make the document anew, by this library.")
    return float(value)
