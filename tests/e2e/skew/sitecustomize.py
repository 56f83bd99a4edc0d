"""Put on PYTHONPATH, this makes a process believe that it is ``TEST_CLOCK_SKEW_S`` seconds later than it is.

Only the library's own clock is moved, before any module that reads it is imported; TLS keeps the machine's.
"""

import os
import time
from datetime import timedelta

SKEW_S = float(os.environ.get("TEST_CLOCK_SKEW_S", "0"))

if SKEW_S:
    from unseen.governance import documents

    _time_ns, _utc_now = time.time_ns, documents.utc_now
    time.time_ns = lambda: _time_ns() + round(SKEW_S * 1e9)
    documents.utc_now = lambda: _utc_now() + timedelta(seconds=SKEW_S)
