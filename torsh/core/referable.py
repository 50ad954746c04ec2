"""The interpreted base of compiled classes whose instances can be referred to weakly (see tools/weak_references.py)."""
from __future__ import annotations


class Referable:
    """Nothing but that."""
