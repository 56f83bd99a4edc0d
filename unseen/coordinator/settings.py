"""coordinator.toml: where the coordinator listens and where the CA's revocation list comes from.

listen = "0.0.0.0:7600"
crl = "/srv/ca/crl.pem"       # left out: crl.pem in the home directory
heartbeat = "10s"
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from unseen import settings
from unseen.home import Home
from unseen.settings import SETTINGS, Address, Seconds


class CoordinatorSettings(BaseModel):
    """The whole of coordinator.toml."""

    model_config = SETTINGS

    listen: Address
    crl: str | None = None
    """Path of the revocation list that `unseen ca crl` writes, relative to the home directory."""
    heartbeat: Seconds = 10
    """How often nodes announce themselves, such as ``"10s"``."""


def load(home: Home) -> CoordinatorSettings:
    """Read ``home/coordinator.toml``. Raises UsageError naming each mistake and its remedy."""
    return settings.load(home.coordinator_toml, CoordinatorSettings)


def crl_path(home: Home, values: CoordinatorSettings) -> Path:
    """Where the revocation list is read from."""
    return home.root / values.crl if values.crl is not None else home.crl
