"""Settings from the environment, read once."""
from __future__ import annotations

import os

#: "cpu" runs compiled plans; "reference" evaluates graphs node by node with NumPy; "null" counts and computes nothing.
RUNTIME = os.environ.get("TORSH_RUNTIME", "cpu")

#: Comma-separated topics that are logged to stderr: "plans", "kernels", "recompiles".
LOG = frozenset(filter(None, os.environ.get("TORSH_LOG", "").split(",")))
