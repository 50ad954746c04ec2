"""Settings from the environment, read once."""
from __future__ import annotations

import os

#: "cpu" runs compiled plans; "reference" evaluates graphs node by node with NumPy; "null" counts and computes nothing.
RUNTIME = os.environ.get("TORSH_RUNTIME", "cpu")

#: Whether ways to compute a contraction are measured when it is first met (`compiler.choice`).
TUNE = os.environ.get("TORSH_TUNE", "") not in ("", "0")

#: Comma-separated topics that are logged to stderr: "recompiles", "tune".
LOG = frozenset(filter(None, os.environ.get("TORSH_LOG", "").split(",")))
