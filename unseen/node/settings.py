"""node.toml: what a party node serves.

listen = "0.0.0.0:7700"
advertise = "civil-affairs.example:7700"        # what others dial; `listen` where it is left out
coordinator = "coordinator@10.0.0.5:7600"       # left out: the node runs without one

[[product]]
name = "marriage-status"
key_form = "resident-id"
requires_consent = true
consent_issuers = ["id-platform"]
epoch = "24h"
grace = "1h"

[product.data]
name = "marriage-registry"
source = "registry.csv"                         # .csv, .parquet or .sqlite; relative to the home directory
keys = ["resident_id"]                          # two columns make a pair product
answer = "status"
codes = { unmarried = 0, married = 1 }

[[data_set]]                                    # what jobs may read, where policy and grant name it too
name = "policy-holders"
source = "policy_holders.parquet"
columns = ["resident_id", "policy_no"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from mpc.errors import UsageError
from unseen import settings
from unseen.home import Home
from unseen.settings import SETTINGS, Address, PartyAddress, PartyName, ProductName, Seconds

Column = Annotated[str, Field(min_length=1, max_length=200)]

_WILDCARDS = ("0.0.0.0", "[::]")  # they are looked for, not listened on
LARGEST_ANSWER = 64
"""Widest answer of a lookup product, bytes."""


class Data(BaseModel):
    """Where a product's records are and what its columns mean."""

    model_config = SETTINGS

    name: ProductName
    """The data set's name in policies and in the audit log."""
    source: str
    """Path of a .csv, .parquet or .sqlite file, relative to the home directory."""
    table: str | None = None
    """Which table of an SQLite file."""
    keys: Annotated[tuple[Column, ...], Field(strict=False, min_length=1, max_length=2)]
    """The key column; or the two columns of a pair."""
    answer: Column
    """The answer column."""
    codes: dict[str, Annotated[int, Field(ge=0, le=0xFFFFFFFF)]] | None = None
    """Number that stands for each answer text; left out, the answer is the text itself in UTF-8, padded with zero
    bytes.
    """
    duplicates: Literal["error", "first"] = "error"
    """What a key that occurs twice is: an error, or answered by its first record."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read; a policy has to name them."""
        return (*self.keys, self.answer)


class JobData(BaseModel):
    """A data set that jobs may read, as far as policy and grant allow."""

    model_config = SETTINGS

    name: ProductName
    """The data set's name in jobs, grants, policies and in the audit log."""
    source: str
    """Path of a .csv, .parquet or .sqlite file, relative to the home directory; or the URL of a data base."""
    table: str | None = None
    """Which table of a data base."""
    encoding: str = "utf-8"
    """Of a CSV file; ``gb18030`` covers GBK and GB 2312."""
    columns: Annotated[tuple[Column, ...], Field(strict=False, min_length=1)]
    """The columns that a job can be allowed to read at all."""


class Product(BaseModel):
    """One data product."""

    model_config = SETTINGS

    name: ProductName
    operator: Literal["lookup.table"] = "lookup.table"
    suite: Literal["intl", "gm"] = "intl"
    """The suite of the node's identity: what its keys, the table and all documents are made with."""
    key_form: str = "resident-id"
    answer_bytes: Annotated[int, Field(ge=1, le=LARGEST_ANSWER)] = 1
    default_answer: str | None = None
    """The answer that an absent key has too: nobody can tell the two apart then."""
    requires_consent: bool
    """Whether each query needs the consent of the person it is about. There is no default: somebody has to decide."""
    consent_issuers: Annotated[tuple[PartyName, ...], Field(strict=False)] = ()
    """Identity platforms whose consents count."""
    epoch: Seconds = 86400
    """How long one key and one table are used, such as ``"24h"``."""
    grace: Seconds = 3600
    """How long an ended epoch goes on being served, for consents that were given during it."""
    data: Data

    @model_validator(mode="after")
    def _consistent(self) -> Product:
        if self.requires_consent and not self.consent_issuers:
            raise ValueError(
                'requires_consent is true, so name who may issue consents: consent_issuers = ["id-platform"]'
            )
        if self.consent_issuers and not self.requires_consent:
            raise ValueError("consent_issuers are named but requires_consent is false; decide which one is meant")
        if self.grace > self.epoch:
            raise ValueError("grace must not be longer than epoch: at most two epochs are served at a time")
        codes = self.data.codes
        if codes is not None:
            if len(set(codes.values())) != len(codes):
                raise ValueError("two answers have the same code; give each its own")
            if max(codes.values(), default=0) >= 1 << (8 * self.answer_bytes):
                raise ValueError(f"a code does not fit into answer_bytes = {self.answer_bytes}; raise answer_bytes")
            if self.default_answer is not None and self.default_answer not in codes:
                raise ValueError(
                    f"default_answer {self.default_answer!r} has no code; it must be one of {sorted(codes)}"
                )
        elif self.default_answer is not None and len(self.default_answer.encode()) > self.answer_bytes:
            raise ValueError(f"default_answer does not fit into answer_bytes = {self.answer_bytes}; raise answer_bytes")
        return self

    @property
    def pair(self) -> bool:
        """Whether one query takes two keys."""
        return len(self.data.keys) == 2

    @property
    def form(self) -> str:
        """Key form of the product's table: that of its keys, or of pairs of them."""
        return f"pair:{self.key_form}" if self.pair else self.key_form

    def encode(self, answer: str) -> bytes:
        """The ``answer_bytes`` bytes that stand for an answer text. Raises UsageError if none do; does not repeat the
        text.
        """
        if self.data.codes is not None:
            code = self.data.codes.get(answer)
            if code is None:
                raise UsageError(
                    f"product {self.name}: an answer has no code; there are codes for {sorted(self.data.codes)}."
                )
            return code.to_bytes(self.answer_bytes, "little")
        data = answer.encode()
        if len(data) > self.answer_bytes or data.endswith(b"\x00"):
            raise UsageError(
                f"product {self.name}: an answer of {len(data)} bytes does not fit answer_bytes = {self.answer_bytes}."
            )
        return data.ljust(self.answer_bytes, b"\x00")


class NodeSettings(BaseModel):
    """The whole of node.toml."""

    model_config = SETTINGS

    listen: Address
    advertise: Address | None = None
    coordinator: PartyAddress | None = None
    max_sessions: Annotated[int, Field(ge=1, le=4096)] = 128
    """How many sessions are open at once, over all products and parties; the next one is refused."""
    product: Annotated[tuple[Product, ...], Field(strict=False)] = ()
    data_set: Annotated[tuple[JobData, ...], Field(strict=False)] = ()
    max_jobs: Annotated[int, Field(ge=1, le=64)] = 4
    """How many jobs this node takes part in at once; the next one is refused."""
    warm_workers: Annotated[int, Field(ge=0, le=16)] = 1
    """How many worker processes wait for a job, so that it starts at once. None wait where there is no data set."""

    @model_validator(mode="after")
    def _distinct(self) -> NodeSettings:
        if self.coordinator and self.advertise is None and self.listen.rpartition(":")[0] in _WILDCARDS:
            raise ValueError("`listen` is every address of this machine, so say which one others dial: advertise = …")
        for kind, names in (
            ("products", [product.name for product in self.product]),
            ("data sets", [data.name for data in self.data_set]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"two {kind} are named {twice[0]!r}; give each its own name")
        if self.data_set and self.coordinator is None:
            raise ValueError("a data set is for jobs, which come from a coordinator; name it: coordinator = …")
        return self

    @property
    def address(self) -> str:
        """What others dial."""
        return self.advertise or self.listen

    def find(self, name: str) -> Product | None:
        """The product of that name, if there is one."""
        return next((product for product in self.product if product.name == name), None)

    def find_data_set(self, name: str) -> JobData | None:
        """The data set of that name, if jobs may read one."""
        return next((data for data in self.data_set if data.name == name), None)


def load(home: Home) -> NodeSettings:
    """Read ``home/node.toml``. Raises UsageError naming each mistake and its remedy."""
    return settings.load(home.node_toml, NodeSettings)


def check_suite(product: Product, suite: str) -> None:
    """Raises UsageError unless a product is of the suite of its node's identity, whose key signs all about it."""
    if product.suite != suite:
        raise UsageError(
            f"product {product.name} is of suite {product.suite!r}, the node's identity of {suite!r}. Set "
            f'suite = "{suite}" in node.toml, or give the product a node that was made with `unseen node init --suite '
            f"{product.suite}`."
        )


def no_product(name: str) -> UsageError:
    """The error for a product that node.toml does not have."""
    return UsageError(f"node.toml has no product {name[:80]!r}. Add it, or use the name of one that it has.")


def source_path(home: Home, product: Product) -> Path:
    """Where the product's data set lies."""
    return home.root / product.data.source
