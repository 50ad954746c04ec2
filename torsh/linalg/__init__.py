"""Linear algebra: factorizations, eigenvalues, systems, norms, with PyTorch's names. Loaded when first used."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torsh.linalg import factor, functions, lowrank, norms, spectral, systems, triangular
from torsh.linalg.common import LINALG, LinAlgError

__all__ = ["LinAlgError", "factor", "functions", "lowrank", "norms", "spectral", "systems", "triangular"]
if TYPE_CHECKING:
    def __getattr__(name: str) -> Any: ...

globals().update(LINALG)
__all__ += list(LINALG)
