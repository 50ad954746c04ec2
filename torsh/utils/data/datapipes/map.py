"""Stages of datapipes by index."""
from torsh.data.datapipe_map_stages import Batcher, Concater, Mapper, SequenceWrapper, Zipper

__all__ = ["Batcher", "Concater", "Mapper", "SequenceWrapper", "Zipper"]
