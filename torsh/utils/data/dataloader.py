"""The loader under the path it has in PyTorch."""
from torsh.data.collate import default_collate, default_convert
from torsh.data.loader import DataLoader
from torsh.data.worker_info import get_worker_info

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]
