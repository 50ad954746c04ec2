"""Saving and loading named tensors as safetensors files."""
from torsh.serialize.safetensors import load_file, save_file

__all__ = ["load_file", "save_file"]
