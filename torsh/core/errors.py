"""Pieces of error messages."""
from __future__ import annotations


def shapes_text(*shapes: tuple[int, ...]) -> str:
    """`[2, 3] and [4]`: shapes as error messages show them."""
    parts = [str(list(s)) for s in shapes]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


class LinAlgError(RuntimeError):
    """What linear algebra raises when a matrix is singular, not positive-definite, or an iteration does not converge."""


class OutOfMemoryError(RuntimeError, MemoryError):
    """A device, the CPU too, has too little memory for what was asked of it."""


class AcceleratorError(RuntimeError):
    """Raised when an accelerator's runtime reports an error."""
