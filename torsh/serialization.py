"""Saving and loading objects with tensors in PyTorch's format, under PyTorch's path."""
from torsh.serialize.reading import get_unsafe_globals_in_checkpoint, load
from torsh.serialize.safe import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from torsh.serialize.writing import save

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals", "get_unsafe_globals_in_checkpoint", "load", "safe_globals", "save"]
