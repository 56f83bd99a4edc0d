"""The world that most of these tests share, and may only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.governance.world import BANK, NODE, PLATFORM, World, make_world
from unseen.governance.trust import Trust


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), NODE, BANK, PLATFORM)


@pytest.fixture(scope="session")
def trust(world: World) -> Trust:
    return world.identity(NODE).trust()


@pytest.fixture
def own_world(tmp_path: Path) -> World:
    """A world that the test may change."""
    return make_world(tmp_path, NODE, BANK, PLATFORM)
