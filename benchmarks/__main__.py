"""``python -m benchmarks WHAT …``: runs ``benchmarks/WHAT.py``'s ``main`` with the remaining arguments."""

from __future__ import annotations

import importlib
import sys

WHAT = (
    "aggregation",
    "arithmetic",
    "binning",
    "boosted-scoring",
    "boosting",
    "horizontal",
    "horizontal-boosting",
    "logistic",
    "lookup",
    "matvec",
    "multi",
    "payload",
    "psi",
    "scoring",
    "transport",
    "unbalanced",
    "validate",
)


def main() -> int:
    """Command line. Returns the exit code."""
    if len(sys.argv) < 2 or sys.argv[1] not in WHAT:
        print(f"usage: python -m benchmarks {{{','.join(WHAT)}}} …, each with --help", file=sys.stderr)
        return 2
    return int(importlib.import_module(f"benchmarks.{sys.argv[1].replace('-', '_')}").main(sys.argv[2:]))


if __name__ == "__main__":
    raise SystemExit(main())
