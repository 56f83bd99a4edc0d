"""Reading TOML settings into pydantic models, with errors that say which line of thought to correct."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from mpc.errors import UsageError
from unseen.governance import files
from unseen.names import check_party_name, check_product_name

SETTINGS = ConfigDict(frozen=True, extra="forbid", strict=True)
"""Configuration of every settings model: what is not understood is an error."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,9})\s*([smhd])")
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")


def parse_duration(value: object) -> int:
    """Seconds in a duration such as ``90s``, ``15m``, ``24h`` or ``30d``. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError('a duration is a number and a unit, such as "90s", "15m", "24h" or "30d"')
    return int(match[1]) * _UNITS[match[2]]


def check_address(value: str) -> str:
    """`value` if it is ``host:port``. Raises ValueError otherwise."""
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match["port"]) > 65535:
        raise ValueError('an address is host:port, such as "civil-affairs.example:7700" or "[::1]:7700"')
    return value


def split_party_address(value: str) -> tuple[str, str]:
    """Name and address of ``name@host:port``. Raises ValueError otherwise."""
    name, at, address = value.partition("@")
    if not at:
        raise ValueError('a party is given as name@host:port, such as "coordinator@10.0.0.5:7600"')
    return _name(name), check_address(address)


def _name(value: str) -> str:
    try:
        return check_party_name(value)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _product(value: str) -> str:
    try:
        return check_product_name(value)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _party_address(value: str) -> str:
    split_party_address(value)
    return value


Seconds = Annotated[int, BeforeValidator(parse_duration)]
Address = Annotated[str, AfterValidator(check_address)]
PartyAddress = Annotated[str, AfterValidator(_party_address)]
PartyName = Annotated[str, AfterValidator(_name)]
ProductName = Annotated[str, AfterValidator(_product)]

Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, model: type[Model]) -> Model:
    """Read the TOML file `path` as a `model`.

    Raises:
        UsageError: naming the file, the place in it, and what to write instead; all mistakes at once.
    """
    return validate(read_toml(path), model, place=str(path))


def read_toml(path: Path) -> dict[str, object]:
    """The content of the TOML file `path`. Raises UsageError that names the file and the line at fault."""
    try:
        return tomllib.loads(files.read(path, what="a settings file", limit=1 << 20).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}. Correct that place.") from None


def validate(raw: object, model: type[Model], *, place: str, within: str = "") -> Model:
    """`raw` as a `model`.

    Args:
        raw: tables and values, as TOML or JSON has them.
        model: what it has to be.
        place: where it comes from, for the error.
        within: the table of that place that `raw` is; empty for the whole.

    Raises:
        UsageError: all mistakes at once, each with what to write instead.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False)
        # A list whose items are at fault is reported as too short, too.
        told = [one for one in items if one["type"] != "too_short" or not _within(one["loc"], items)]
        faults = [_explain(model, dict(item), within=(within,) if within else ()) for item in told]
        raise UsageError(f"{place}: " + "; ".join(faults) + ".") from None


def _within(place: tuple[int | str, ...], items: Sequence[ErrorDetails]) -> bool:
    """Whether there is another fault within a place."""
    return any(len(one["loc"]) > len(place) and one["loc"][: len(place)] == place for one in items)


def _explain(model: type[BaseModel], item: dict[str, object], *, within: tuple[str, ...]) -> str:
    loc = item["loc"]
    parts = (*within, *loc) if isinstance(loc, tuple) else within
    place = ".".join(f"[{part + 1}]" if isinstance(part, int) else str(part) for part in parts).replace(".[", "[")
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(parts[-1]), _field_names(model), n=1, cutoff=0.7)
        return f"unknown key {place}" + (f"; did you mean {close[0]!r}?" if close else "; remove it")
    if item["type"] == "missing":
        return f"{place} is missing; add it"
    if item["type"] == "tuple_type":
        return f'{place}: write a list, such as {parts[-1]} = ["…"]'
    return f"{place or 'file'}: {str(item['msg']).removeprefix('Value error, ').removesuffix('.')}"


def _field_names(model: type[BaseModel]) -> list[str]:
    """All field names of `model` and of the models within it."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        names.append(name)
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                names += _field_names(inner)
    return names
