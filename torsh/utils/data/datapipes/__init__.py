"""Datapipes' stages under the names they have in PyTorch."""
from torsh.utils.data.datapipes import iter as iter
from torsh.utils.data.datapipes import map as map
