"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code; a test that hangs has pytest's timeout.
settings.register_profile("unseen", deadline=None)
settings.load_profile("unseen")

# Worker processes of one test run share the cores. Two threads each at least, so that what threads split stays tested.
_CORES, _WORKERS = len(os.sched_getaffinity(0)), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("UNSEEN_THREADS", str(max(2, _CORES // _WORKERS)))

CREDIT_CARD_CSV = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "uci_credit_card.csv"


@pytest.fixture(scope="session")
def credit_card_csv() -> Path:
    """Path of *Default of Credit Card Clients* (Yeh and Lien 2009; CC BY 4.0): 30,000 rows, 23 attributes, a label.

    The file is not part of the project. Without it beside the checkout the test is skipped.
    """
    if not CREDIT_CARD_CSV.is_file():
        pytest.skip(
            "needs ../shared/data/uci_credit_card.csv beside the checkout (UCI, Default of Credit Card Clients)"
        )
    return CREDIT_CARD_CSV
