"""The models of a party: its own parts, each with a statement that says which job it came from, signed by the node.

    home/models/<model>/v<k>/
      part.json                 the part, sealed under the node's storage key: coefficients are as confidential as data
      statement.json            signed: which job made it, by which operator, and the digest of the part

A version is a training: importing the same job again makes no new one, another job's part of the same model does. A
version's number is never used a second time; one that was removed keeps its statement.

    store = ModelStore(Home(path))
    store.import_job("3f0c9a52d1e07b64")
    store.load("00c0ffee00c0ffee").part.score(table)
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, StringConstraints

from mpc import durable
from mpc.errors import PolicyError, UsageError
from unseen.governance import documents, files
from unseen.governance.documents import STRICT, Count, Digest, Name, Time, format_time, parse_time, utc_now
from unseen.governance.enrolment import Identity
from unseen.home import MODEL, REPORT, Home, exclusive
from unseen.node import sealing

if TYPE_CHECKING:
    # They bring Arrow, which whoever only looks at a list does not need.
    from protocols.learning.boosted import BoostedPart
    from protocols.learning.model import ModelPart

Part: TypeAlias = "ModelPart | BoostedPart"
"""What a training leaves a party: of a linear model, or of boosted trees."""
PART, STATEMENT = "part.json", "statement.json"
PART_BYTES = 64 << 20
"""Largest part that is read, bytes."""
LOCK_TIMEOUT_S = 30.0

ModelId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""Names a model, or a job: 16 hexadecimal digits."""

_MODEL = re.compile("[0-9a-f]{16}")
_VERSION = re.compile("v([1-9][0-9]{0,8})")


class Statement(BaseModel):
    """What a node says of a part in its store.

    Attributes:
        suite: of the signature.
        node: who keeps the part, and signs.
        model: names the model, the same at all parties.
        version: of this party's store.
        job: the training that the part comes from: parts of one job belong together, and no others.
        operator: what trained it.
        part: SHA-256 of the part's canonical bytes.
        stored: when it was taken in.
    """

    model_config = STRICT
    type: Literal["unseen.model.v1"] = "unseen.model.v1"
    suite: str
    node: Name
    model: ModelId
    version: Count
    job: ModelId
    operator: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    part: Digest
    stored: Time


@dataclass(frozen=True)
class Stored:
    """A part as it was found in the store, with its statement, both checked."""

    part: Part
    statement: Statement


@dataclass(frozen=True)
class Listed:
    """A version in the store: its statement, checked, and whether the part itself is still there."""

    statement: Statement
    there: bool


class ModelStore:
    """The models in one home. Making one touches no file."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def import_job(self, job: str) -> Statement:
        """Take the part in that a finished job of this party has left in its result.

        Importing a job again changes nothing, unless its part was removed meanwhile: then it is a new version.

        Raises:
            UsageError: no such job, or one that left no model; a part of another party, or that was changed since.
        """
        if not _MODEL.fullmatch(job):
            raise UsageError(
                f"{job[:40]!r} is no job. A job's name is 16 hexadecimal digits; `unseen job list` has it."
            )
        directory = self._home.result(job)
        report = _object(files.read(directory / REPORT, what="a job's report"), f"the report of job {job}")
        if report.get("id") != job or report.get("state") != "finished":
            raise UsageError(f"job {job} did not finish here, so there is no model of it. Submit it anew.")
        data = files.read(directory / MODEL, what="a model of the job", limit=PART_BYTES)
        told = report.get("files")
        if isinstance(told, dict) and told.get(MODEL) != _sha256(data):
            raise UsageError(
                f"{directory / MODEL} is not what the job's report says that it was: it was changed since. Fetch both "
                "from a backup, or train anew."
            )
        return self.add(_part(data, what=str(directory / MODEL)), job=job, operator=str(report.get("operator")))

    def add(self, part: Part, *, job: str, operator: str) -> Statement:
        """Take a part in, as the next version of its model; the present one where it is that already.

        Args:
            part: this party's.
            job: the training that it comes from.
            operator: what trained it.

        Raises:
            UsageError: another party's part; a part of that job which is in the store with other content.
        """
        identity = Identity.load(self._home.root)
        if part.party != identity.name:
            raise UsageError(
                f"this is the part of {part.party}, and the home that of {identity.name}: each party keeps its own."
            )
        data = _bytes_of(part)
        with exclusive(self._home, "models", timeout_s=LOCK_TIMEOUT_S):
            for listed in self.versions(part.model):
                if listed.statement.job == job and listed.there:
                    if listed.statement.part != _sha256(data):
                        raise UsageError(
                            f"version {listed.statement.version} of model {part.model} is of job {job}, too, with "
                            "other content. A job has one result: find out which of the two is it, and remove the "
                            "other."
                        )
                    return listed.statement
            statement = Statement(
                suite=identity.suite,
                node=identity.name,
                model=part.model,
                version=1 + max(_numbers(self._home.models / part.model), default=0),
                job=job,
                operator=operator,
                part=_sha256(data),
                stored=format_time(utc_now()),
            )
            signed = documents.sign(statement, identity.signer)
            files.private_directory(self._home.state)
            storage = sealing.storage_key(self._home.storage_key)
            sealed = sealing.seal(np.frombuffer(data, np.uint8), storage=storage, purpose=_purpose(statement))
            _publish(self._directory(part.model, statement.version), sealed, documents.to_json(signed).encode())
        return statement

    def load(self, model: str, *, version: int | None = None, job: str | None = None) -> Stored:
        """A part, checked against its statement, and that against this party's certificate.

        Args:
            model: the model.
            version: which; the newest that is there by default.
            job: the training that it must come from, where another party says which.

        Raises:
            UsageError: no such model or version; a part that was changed, or that is of another model or party.
            PolicyError: a statement with a broken signature, or of another party.
        """
        found = [one.statement for one in self.versions(model) if one.there]
        if not found:
            known = ", ".join(self.models()) or "none"
            raise UsageError(
                f"there is no model {model[:40]!r} here; there are: {known}. `unseen model import` adds one."
            )
        fits = [one for one in found if version in (None, one.version) and job in (None, one.job)]
        if not fits and job is not None and version is None:
            raise UsageError(
                f"model {model} is here from {', '.join(one.job for one in found)}, and the other party scores with "
                f"the part of job {job[:40]!r}. Parts of one training belong together: import that job, or ask the "
                "other party for its version of yours."
            )
        chosen = fits[-1] if fits else None
        if chosen is None:
            there = ", ".join(str(one.version) for one in found)
            raise UsageError(f"model {model} has no version {version}; it has: {there}.")
        path = self._directory(model, chosen.version) / PART
        try:
            plain = sealing.unseal(
                files.read(path, what="a model's part", limit=2 * PART_BYTES),
                storage=sealing.storage_key(self._home.storage_key),
                purpose=_purpose(chosen),
            )
        except UsageError:
            raise UsageError(
                f"{path} does not open: it was changed, moved here from another version, or state/storage.key is "
                "another one. Restore both from one backup, or import the job anew."
            ) from None
        data = plain.tobytes()
        if _sha256(data) != chosen.part:
            raise UsageError(f"{path} is not the part that its statement names. Import the job anew.")
        part = _part(data, what=str(path))
        if (part.model, part.party) != (chosen.model, chosen.node):
            raise UsageError(
                f"{path} is a part of another model or party than its statement says. Import the job anew."
            )
        return Stored(part, chosen)

    def models(self) -> list[str]:
        """The models that there are, sorted."""
        if not self._home.models.is_dir():
            return []
        return sorted(path.name for path in self._home.models.iterdir() if _MODEL.fullmatch(path.name))

    def versions(self, model: str) -> list[Listed]:
        """All versions of a model, oldest first, those that were removed among them.

        Raises:
            PolicyError: a statement with a broken signature, or one that lies where another belongs.
        """
        if not _MODEL.fullmatch(model):
            raise UsageError(f"{model[:40]!r} is no model. A model's name is 16 hexadecimal digits.")
        identity: Identity | None = None
        result = []
        for number in sorted(_numbers(self._home.models / model)):
            identity = identity or Identity.load(self._home.root)
            directory = self._directory(model, number)
            statement = _verified(directory / STATEMENT, identity)
            if (statement.model, statement.version) != (model, number):
                raise _wrong(directory / STATEMENT, f"is about version {statement.version} of {statement.model}")
            result.append(Listed(statement, (directory / PART).exists()))
        return result

    def remove(self, model: str, version: int) -> None:
        """Erase a part. Its statement stays, so that its number is not used again. What was removed is gone."""
        with exclusive(self._home, "models", timeout_s=LOCK_TIMEOUT_S):
            if not any(one.statement.version == version and one.there for one in self.versions(model)):
                raise UsageError(f"there is no version {version} of model {model}. `unseen model list` shows them.")
            sealing.erase(self._directory(model, version) / PART)

    def _directory(self, model: str, version: int) -> Path:
        return self._home.models / model / f"v{version}"


def _verified(path: Path, identity: Identity) -> Statement:
    content = files.read(path, what="a model's statement", limit=1 << 20)
    try:
        signed = documents.from_json(content)
        # A certificate ends, what was signed while it was good stays good: it is looked at as of then.
        claimed = documents.parse(signed.document, Statement)
        return documents.verify(
            signed,
            Statement,
            trust=identity.trust(),
            signer=identity.name,
            signer_field="node",
            suite=claimed.suite,
            now=parse_time(claimed.stored),
        )
    except PolicyError as error:
        raise _wrong(path, error.reason) from None


def _wrong(path: Path, what: str) -> PolicyError:
    return PolicyError(
        f"{path}: {what}",
        code="model-statement-invalid",
        remedy="It was changed, or comes from another home. Remove the directory, and import the job anew.",
    )


def _publish(directory: Path, sealed: bytes, statement: bytes) -> None:
    """Part and statement, there together or not at all."""
    files.private_directory(directory.parent.parent)
    files.private_directory(directory.parent)
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=directory.parent))
    try:
        files.replace(temporary / PART, sealed, mode=files.PRIVATE)
        files.replace(temporary / STATEMENT, statement, mode=files.PRIVATE)
        temporary.rename(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    durable.sync_directory(directory.parent)


def _numbers(directory: Path) -> Iterator[int]:
    if directory.is_dir():
        for path in directory.iterdir():
            if match := _VERSION.fullmatch(path.name):
                yield int(match[1])


def _purpose(statement: Statement) -> str:
    return f"model/{statement.model}/{statement.version}"


def _sha256(data: bytes) -> str:
    return documents.to_base64(documents.hash_of(data, suite="intl"))


def _object(data: bytes, what: str) -> dict[str, object]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{what} is no JSON object: it was cut short, or changed. Fetch it from a backup.")
    return found


def _part(data: bytes, *, what: str) -> Part:
    from protocols.learning import boosted
    from protocols.learning.model import ModelPart

    try:
        document = _object(data, what)
        if document.get("format") == boosted.FORMAT:
            return boosted.BoostedPart.from_json(document)
        return ModelPart.from_json(document)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None


def _bytes_of(part: Part) -> bytes:
    """One byte string for one part: floats in Python's shortest form that means them."""
    return json.dumps(part.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
