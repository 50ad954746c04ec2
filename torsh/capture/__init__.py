"""Capture and replay: `torsh.compile`."""
from torsh.capture.compile import compile as compile
from torsh.capture.graph import GraphBreak as GraphBreak

__all__ = ["GraphBreak", "compile"]
