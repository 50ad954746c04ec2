"""Memory formats: in which order a tensor's dimensions lie in memory; and layouts."""
from __future__ import annotations

from torsh.core.shapes import Shape, contiguous_strides


class Named:
    """A constant of `torsh` that is its name, in text and in pickles."""
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return "torsh." + self.name

    def __reduce__(self) -> str:
        return self.name


class memory_format(Named):
    """An order of dimensions in memory, e.g. `torsh.channels_last`."""
    __slots__ = ()


class layout(Named):
    """How a tensor keeps its elements: `torsh.strided`, or one of the sparse ones, whose tensors are in `torsh.sparse`."""
    __slots__ = ()


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
strided = layout("strided")
sparse_coo, sparse_csr, sparse_csc, sparse_bsr, sparse_bsc = (layout("sparse_" + name) for name in ("coo", "csr", "csc", "bsr", "bsc"))


def is_dense(shape: Shape, strides: Shape) -> bool:
    """Whether the elements fill their memory without gaps or overlaps, in whatever order of dimensions."""
    expected = 1
    for s, n in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n != 1):
        if s != expected:
            return False
        expected *= n
    return True


def strides_for(shape: Shape, strides: Shape, wanted: memory_format | None) -> Shape:
    """The strides of a new tensor like one of this shape and these strides, in a memory format (None: as `preserve_format`).

    Raises RuntimeError for a channels-last format and another number of dimensions, TypeError for something else than a format.
    """
    if wanted is None or wanted is preserve_format:
        return strides if 0 in shape or is_dense(shape, strides) else contiguous_strides(shape)
    if wanted is contiguous_format:
        return contiguous_strides(shape)
    if wanted is not channels_last and wanted is not channels_last_3d:
        raise TypeError(f"memory_format must be a torsh.memory_format, not {type(wanted).__name__}")
    rank = 4 if wanted is channels_last else 5
    if len(shape) != rank:
        raise RuntimeError(f"required rank {rank} tensor to use {wanted.name} format")
    inner = contiguous_strides((shape[0], *shape[2:], shape[1]))
    return (inner[0], inner[-1], *inner[1:-1])


def order_of(strides: Shape) -> list[int]:
    """The dimensions from outermost to innermost in memory."""
    return sorted(range(len(strides)), key=lambda d: -strides[d])
