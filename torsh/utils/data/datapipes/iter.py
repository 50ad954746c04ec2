"""Stages of iterable datapipes."""
from torsh.data.datapipe_stages import (
                                        Batcher,
                                        Collator,
                                        Concater,
                                        Filter,
                                        Grouper,
                                        IterableWrapper,
                                        Mapper,
                                        Multiplexer,
                                        ShardingFilter,
                                        Shuffler,
                                        UnBatcher,
                                        Zipper,
)
from torsh.data.datapipe_stages import demux as Demultiplexer
from torsh.data.datapipe_stages import fork as Forker

__all__ = ["Batcher", "Collator", "Concater", "Demultiplexer", "Filter", "Forker", "Grouper", "IterableWrapper", "Mapper", "Multiplexer",
           "ShardingFilter", "Shuffler", "UnBatcher", "Zipper"]
