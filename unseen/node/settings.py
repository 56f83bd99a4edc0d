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

[[scorer]]                                      # a product that scores with this party's part of a model
name = "repayment-score"
model = "00c0ffee00c0ffee"                      # `unseen model list`
release = "grade"                               # or "score"
cuts = [-2.0, 0.0, 1.5]
key_form = "resident-id"
calls_per_subject = 3

[scorer.data]
name = "households"
source = "households.parquet"
keys = ["resident_id"]
features = ["size", "rooms"]

[[data_set]]                                    # what jobs may read, where policy and grant name it too
name = "policy-holders"
source = "policy_holders.parquet"
columns = ["resident_id", "policy_no"]
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, model_validator

from mpc.errors import UsageError
from protocols.learning.release import OPERATORS, Release
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


class ScorerData(BaseModel):
    """Where the features are that a model's part takes, by key."""

    model_config = SETTINGS

    name: ProductName
    """The data set's name in policies and in the audit log."""
    source: str
    """Path of a .csv, .parquet or .sqlite file, relative to the home directory; or the URL of a data base."""
    table: str | None = None
    """Which table of a data base."""
    encoding: str = "utf-8"
    """Of a CSV file; ``gb18030`` covers GBK and GB 2312."""
    keys: Annotated[tuple[Column, ...], Field(strict=False, min_length=1, max_length=2)]
    """The key column; or the two columns of a pair."""
    features: Annotated[tuple[Column, ...], Field(strict=False, min_length=1)]
    """The columns that the model's part may read."""
    duplicates: Literal["error", "first"] = "error"
    """What a key that occurs twice is: an error, or scored by its first record."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read; a policy has to name them."""
        return (*self.keys, *self.features)


class Scorer(BaseModel):
    """One product that scores with this party's part of a model."""

    model_config = SETTINGS

    name: ProductName
    suite: Literal["intl", "gm"] = "intl"
    """The suite of the node's identity."""
    model: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """The model, whose part is in the node's store (`unseen model list`)."""
    version: Annotated[int, Field(ge=1)] | None = None
    """Which version of it; left out, the newest one when the product's process starts or reads its data again."""
    release: Release
    """``score``: the asker learns this part's sum of each row. ``grade``: nothing but a grade opens. There is no
    default: somebody has to decide.
    """
    cuts: Annotated[tuple[float, ...], Field(strict=False)] = ()
    """Where one grade ends and the next begins, increasing, in units of the score. The owner's choice, not the asker's:
    whoever could choose them would learn the score.
    """
    key_form: str = "resident-id"
    calls_per_subject: Annotated[int, Field(ge=1)]
    """How often a day one requester may have one person scored. With grades this bounds what other inputs of the
    asker's own tell it about the score. There is no default, either.
    """
    refresh: Seconds = 86400
    """How often the data are read again, such as ``"24h"``; `unseen node rotate` does it at once."""
    data: ScorerData

    @model_validator(mode="after")
    def _consistent(self) -> Scorer:
        increasing = all(a < b for a, b in itertools.pairwise(self.cuts))
        if self.release == "grade" and not (1 <= len(self.cuts) <= 16 and increasing):
            raise ValueError("release is grade, so give 1 to 16 increasing numbers, such as cuts = [-1.0, 0.5]")
        if not all(abs(cut) < 1 << 20 for cut in self.cuts):
            raise ValueError("cuts are numbers in units of the score, which are small")
        if self.release == "score" and self.cuts:
            raise ValueError("cuts are of grades, and release is score; decide which one is meant")
        if taken := sorted(set(self.data.keys) & set(self.data.features)):
            raise ValueError(f"{taken[0]!r} is a key and a feature; a person's number is no feature")
        return self

    @property
    def operator(self) -> str:
        """Name of the operator, which policies name: it says what is released."""
        return OPERATORS[self.release].name

    @property
    def pair(self) -> bool:
        """Whether one query takes two keys."""
        return len(self.data.keys) == 2

    @property
    def form(self) -> str:
        """Form of the keys: that of the columns, or of pairs of them."""
        return f"pair:{self.key_form}" if self.pair else self.key_form

    @property
    def requires_consent(self) -> bool:
        """False: the partner sees whom it is asked about, and its policy says who may ask."""
        return False

    @property
    def consent_issuers(self) -> tuple[str, ...]:
        """None."""
        return ()


Served: TypeAlias = Product | Scorer
"""What a node offers online, by a process of its own."""


class NodeSettings(BaseModel):
    """The whole of node.toml."""

    model_config = SETTINGS

    listen: Address
    advertise: Address | None = None
    coordinator: PartyAddress | None = None
    max_sessions: Annotated[int, Field(ge=1, le=4096)] = 128
    """How many sessions are open at once, over all products and parties; the next one is refused."""
    product: Annotated[tuple[Product, ...], Field(strict=False)] = ()
    scorer: Annotated[tuple[Scorer, ...], Field(strict=False)] = ()
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
            ("products", [product.name for product in self.served]),
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
        """The product of that name, if it is one that looks up."""
        return next((product for product in self.product if product.name == name), None)

    @property
    def served(self) -> tuple[Served, ...]:
        """All products: those that look up, and those that score."""
        return (*self.product, *self.scorer)

    def find_served(self, name: str) -> Served | None:
        """The product of that name, of either kind."""
        return next((one for one in self.served if one.name == name), None)

    def find_scorer(self, name: str) -> Scorer | None:
        """The product of that name, if it is one that scores."""
        return next((one for one in self.scorer if one.name == name), None)

    def find_data_set(self, name: str) -> JobData | None:
        """The data set of that name, if jobs may read one."""
        return next((data for data in self.data_set if data.name == name), None)


def load(home: Home) -> NodeSettings:
    """Read ``home/node.toml``. Raises UsageError naming each mistake and its remedy."""
    return settings.load(home.node_toml, NodeSettings)


def check_suite(product: Served, suite: str) -> None:
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
