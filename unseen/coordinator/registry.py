"""What the coordinator knows, in one database: parties, the products they offer, and the manifest log.

The manifest log keeps, for every node, product and epoch, the first manifest that anyone showed. All askers compare
theirs with it, so a node that gives different askers different tables has to sign two manifests for one epoch, and
both are kept as evidence.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from mpc.errors import UsageError
from unseen.governance.documents import Signed

SCHEMA = 1
"""Version of the tables below."""

_schema = Table("schema", MetaData(), Column("version", Integer, primary_key=True))
_metadata = MetaData()
_parties = Table(
    "parties",
    _metadata,
    Column("name", String(63), primary_key=True),
    Column("address", String(300), nullable=False),
    Column("version", String(40), nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
)
_products = Table(
    "products",
    _metadata,
    Column("party", String(63), ForeignKey("parties.name"), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("operator", String(80), nullable=False),
    Column("operator_version", Integer, nullable=False),
    Column("suite", String(20), nullable=False),
    Column("key_form", String(80), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("serving", Boolean, nullable=False),
    Column("problem", Text, nullable=False),
)
_manifests = Table(
    "manifests",
    _metadata,
    Column("node", String(63), primary_key=True),
    Column("product", String(63), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("shown_by", String(63), nullable=False),
    Column("shown_ms", BigInteger, nullable=False),
)
_evidence = Table(
    "evidence",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("node", String(63), nullable=False),
    Column("product", String(63), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False, unique=True),
    Column("signature", LargeBinary, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("shown_by", String(63), nullable=False),
    Column("shown_ms", BigInteger, nullable=False),
)


@dataclass(frozen=True)
class ProductState:
    """A product as its node announced it. `epoch` is 0 before the first; `problem` is empty when nothing is wrong."""

    name: str
    operator: str
    operator_version: int
    suite: str
    key_form: str
    epoch: int
    serving: bool
    problem: str


@dataclass(frozen=True)
class Party:
    """A party that announced itself. `seen_ms`: when it did last, Unix time in milliseconds."""

    name: str
    address: str
    version: str
    seen_ms: int
    products: tuple[ProductState, ...]


@dataclass(frozen=True)
class Contradiction:
    """Two manifests that one node signed for one epoch of one product."""

    node: str
    product: str
    epoch: int
    first: Signed
    other: Signed
    shown_by: str
    shown_ms: int


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class Registry:
    """The coordinator's database. Made by `open_registry`; safe to use from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def announce(self, party: Party) -> None:
        """Replace what is known of a party."""
        values = {"address": party.address, "version": party.version, "seen_ms": party.seen_ms}
        with self._engine.begin() as connection:
            if connection.execute(update(_parties).where(_parties.c.name == party.name).values(values)).rowcount == 0:
                connection.execute(insert(_parties), {"name": party.name, **values})
            connection.execute(delete(_products).where(_products.c.party == party.name))
            if party.products:
                connection.execute(insert(_products), [{"party": party.name, **vars(p)} for p in party.products])

    def parties(self) -> tuple[Party, ...]:
        """All parties that ever announced themselves, by name."""
        with self._engine.begin() as connection:
            products: dict[str, list[ProductState]] = {}
            for row in connection.execute(select(_products).order_by(_products.c.name)).mappings():
                fields = {key: value for key, value in row.items() if key != "party"}
                products.setdefault(row["party"], []).append(ProductState(**fields))
            return tuple(
                Party(row.name, row.address, row.version, row.seen_ms, tuple(products.get(row.name, ())))
                for row in connection.execute(select(_parties).order_by(_parties.c.name))
            )

    def show(self, manifest: Signed, *, node: str, product: str, epoch: int, shown_by: str) -> Signed:
        """Compare a verified manifest with the first one shown for its epoch; keep it as the first, or as evidence.

        Returns:
            The first one. It is `manifest` itself, byte by byte, unless the node signed two.
        """
        row = {
            "node": node,
            "product": product,
            "epoch": epoch,
            "document": manifest.document,
            "signature": manifest.signature,
            "certificate": manifest.certificate,
            "shown_by": shown_by,
            "shown_ms": now_ms(),
        }
        first = self._first(node, product, epoch)
        if first is None:
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(_manifests), row)
                return manifest
            except IntegrityError:  # somebody else showed one at the same moment
                first = self._first(node, product, epoch)
                if first is None:
                    raise
        if first.document != manifest.document:
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(_evidence), row)
            except IntegrityError:
                return first  # the same evidence was kept before
        return first

    def contradictions(self) -> tuple[Contradiction, ...]:
        """Everything kept as evidence, oldest first."""
        with self._engine.begin() as connection:
            found = connection.execute(select(_evidence).order_by(_evidence.c.id)).all()
            return tuple(
                Contradiction(
                    node=row.node,
                    product=row.product,
                    epoch=row.epoch,
                    first=_signed(_find(connection, row.node, row.product, row.epoch), row.node),
                    other=_signed(row, row.node),
                    shown_by=row.shown_by,
                    shown_ms=row.shown_ms,
                )
                for row in found
            )

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def _first(self, node: str, product: str, epoch: int) -> Signed | None:
        with self._engine.begin() as connection:
            row = _find(connection, node, product, epoch)
        return None if row is None else _signed(row, node)


def _find(connection: Connection, node: str, product: str, epoch: int) -> Row[tuple[object, ...]] | None:
    return connection.execute(
        select(_manifests).where(
            _manifests.c.node == node, _manifests.c.product == product, _manifests.c.epoch == epoch
        )
    ).one_or_none()


def _signed(row: Row[tuple[object, ...]] | None, node: str) -> Signed:
    if row is None:
        raise UsageError("the manifest log lost an entry that evidence refers to. Restore the database from a backup.")
    fields = row._mapping
    return Signed(
        document=bytes(fields["document"]),
        signature=bytes(fields["signature"]),
        signer=node,
        certificate=bytes(fields["certificate"]),
    )


def open_registry(place: Path | str) -> Registry:
    """Open the registry, making it on first use.

    Args:
        place: path of an SQLite file, or a database URL that SQLAlchemy understands.

    Raises:
        UsageError: the database was made by another version of this library.
    """
    return Registry(open_database(place, _metadata, schema=SCHEMA))


def open_database(place: Path | str, tables: MetaData, *, schema: int) -> Engine:
    """Open a database, making its tables on first use.

    Args:
        place: path of an SQLite file, or a database URL that SQLAlchemy understands.
        tables: the tables of the database, but for the one that says of which version they are.
        schema: their version.

    Raises:
        UsageError: the database was made by another version of this library.
    """
    if isinstance(place, Path):
        engine = create_engine(f"sqlite:///{place}", connect_args={"timeout": 10.0})
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        engine = create_engine(place)
    with engine.begin() as connection:
        if not inspect(connection).has_table(_schema.name):
            _schema.create(connection)
            tables.create_all(connection)
            connection.execute(insert(_schema), {"version": schema})
        versions: Sequence[int] = connection.execute(select(_schema.c.version)).scalars().all()
    if list(versions) != [schema]:
        raise UsageError(
            f"the database has schema {list(versions)}, this library writes {schema}. Use the matching version."
        )
    return engine


def _prepare_sqlite(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]  # the DBAPI's connection has no type of its own here
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
