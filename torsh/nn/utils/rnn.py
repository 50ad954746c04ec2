"""Sequences of different lengths: padded to one tensor, or packed step by step without padding."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from torsh.core.dtypes import dtype, float16, float32, float64, int8, int16, int32, int64, uint8
from torsh.ops.dispatch import FUNCTIONS
from torsh.ops.gather import selected
from torsh.tensor.creation import from_array, tensor
from torsh.tensor.tensor import Tensor


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """Sequences step by step: `data` [sum of lengths, ...] has `batch_sizes[t]` rows of step t, longest sequence first.

    `sorted_indices` tells which sequence became which, `unsorted_indices` the way back. Made by `pack_padded_sequence` and `pack_sequence`.
    """
    __slots__ = ()

    def __new__(cls, data: Any, batch_sizes: Tensor | None = None, sorted_indices: Tensor | None = None,
                unsorted_indices: Tensor | None = None) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)  # type: ignore[arg-type]

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """As `Tensor.to` of the data."""
        data = self.data.to(*args, **kwargs)  # type: ignore[attr-defined]
        return self if data is self.data else type(self)(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def cpu(self) -> PackedSequence:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On a GPU. Raises RuntimeError without such a backend."""
        return self.to(*args, **{"device": "cuda", **kwargs} if not args else kwargs)

    def _as(self, dt: dtype) -> PackedSequence:
        return self.to(dtype=dt)

    def double(self) -> PackedSequence:
        """The data as float64."""
        return self._as(float64)

    def float(self) -> PackedSequence:
        """The data as float32."""
        return self._as(float32)

    def half(self) -> PackedSequence:
        """The data as float16."""
        return self._as(float16)

    def long(self) -> PackedSequence:
        """The data as int64."""
        return self._as(int64)

    def int(self) -> PackedSequence:
        """The data as int32."""
        return self._as(int32)

    def short(self) -> PackedSequence:
        """The data as int16."""
        return self._as(int16)

    def char(self) -> PackedSequence:
        """The data as int8."""
        return self._as(int8)

    def byte(self) -> PackedSequence:
        """The data as uint8."""
        return self._as(uint8)

    @property
    def is_cuda(self) -> bool:
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another: out[permutation[i]] = i."""
    return None if permutation is None else from_array(np.argsort(permutation.numpy()))  # type: ignore[attr-defined]


def pack_padded_sequence(input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    """Pack padded sequences [t, n, ...] (or [n, t, ...]) of given lengths; not sorted by length only without `enforce_sorted`.

    Raises RuntimeError for lengths that are not positive, not of the batch's size, too long or (if enforced) not sorted.
    """
    if isinstance(lengths, Tensor) and len(lengths._shape) != 1:
        raise RuntimeError(f"'lengths' argument should be a 1D CPU int64 tensor, but got {len(lengths._shape)}D cpu {lengths._dtype.title} tensor")
    sizes = [int(v) for v in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]  # type: ignore[attr-defined]
    order: Tensor | None = None
    x = input.transpose(0, 1) if batch_first else input  # type: ignore[attr-defined]
    if not enforce_sorted:
        at = np.argsort(-np.array(sizes, np.int64), kind="stable").astype(np.int64)
        order = from_array(at)
        sizes = [sizes[i] for i in at]
        x = selected(x, 1, order)
    steps, n = x._shape[0], x._shape[1]
    if n == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if len(sizes) != n:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={n})")
    if sizes[-1] <= 0 or min(sizes) <= 0:
        raise RuntimeError(f"Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0 (lengths {sizes})")
    if any(a < b for a, b in pairwise(sizes)):
        raise RuntimeError("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass `enforce_sorted=False` to "
                           "pack_padded_sequence and/or pack_sequence to sidestep this requirement if you do not need ONNX exportability.")
    if sizes[0] > steps:
        raise RuntimeError(f"Expected lengths of at most {steps}, the length of the padded sequences, but got {sizes[0]}")
    counts = [int(c) for c in (np.array(sizes)[None] > np.arange(sizes[0])[:, None]).sum(1)]
    if counts[-1] == n:
        data = x[:sizes[0]].reshape(sizes[0] * n, *x._shape[2:])
    else:
        flat = x.reshape(steps * n, *x._shape[2:])
        data = selected(flat, 0, from_array(np.concatenate([t * n + np.arange(c) for t, c in enumerate(counts)]).astype(np.int64)))
    return PackedSequence(data, tensor(counts, dtype=int64), order, None)


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Tensor, Tensor]:
    """(padded [t, n, ...] or [n, t, ...], lengths [n]) of a packed sequence. Raises ValueError for a total length that is too short."""
    counts = [int(c) for c in sequence.batch_sizes.tolist()]  # type: ignore[attr-defined]
    steps, n = len(counts), counts[0]
    if total_length is not None and total_length < steps:
        raise ValueError("Expected total_length to be at least the length of the longest sequence in input, but got "
                         f"total_length={total_length} and max sequence length being {steps}")
    length = steps if total_length is None else total_length
    data: Any = sequence.data
    if counts[-1] == n:
        padded = data.reshape(steps, n, *data._shape[1:])
        if length > steps:
            padded = FUNCTIONS["cat"]([padded, data.new_full((length - steps, n, *data._shape[1:]), padding_value)])
    else:
        rows = from_array(np.concatenate([t * n + np.arange(c) for t, c in enumerate(counts)]).astype(np.int64))
        padded = data.new_full((length * n, *data._shape[1:]), padding_value).index_copy(0, rows, data).reshape(length, n, *data._shape[1:])
    lengths = np.array([np.sum(np.array(counts) > i) for i in range(n)], np.int64)
    if sequence.unsorted_indices is not None:
        padded = selected(padded, 1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.numpy()]  # type: ignore[attr-defined]
    return (padded.transpose(0, 1) if batch_first else padded), from_array(lengths)


def pad_sequence(sequences: Tensor | Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right") -> Tensor:
    """Sequences [length, ...] as one tensor [longest, n, ...] (or [n, longest, ...]), filled up on one side.

    Raises RuntimeError for no iterable, no sequences, another side than "left" and "right", and trailing dimensions that differ.

    >>> import torsh
    >>> pad_sequence([torsh.ones(2), torsh.ones(1)], batch_first=True)
    tensor([[1., 1.],
            [1., 0.]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}")
    given: list[Any] = list(sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    longest = max(s._shape[0] for s in given)
    for s in given:
        if s._shape[1:] != given[0]._shape[1:]:
            raise RuntimeError(f"pad_sequence: The size of the sequences must match except in dimension 0, got {list(given[0]._shape)} and {list(s._shape)}")
    pad = FUNCTIONS["constant_pad_nd"]
    same = []
    for s in given:
        missing = longest - s._shape[0]
        margins = [0] * (2 * len(s._shape))
        margins[-2 if padding_side == "left" else -1] = missing
        same.append(pad(s, margins, padding_value) if missing else s)
    return FUNCTIONS["stack"](same, 0 if batch_first else 1)  # type: ignore[no-any-return]


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences [length, ...] of a padded tensor."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)  # type: ignore[attr-defined]
    return [x[i][:int(n)] for i, n in enumerate(lengths.tolist())]  # type: ignore[attr-defined]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences [length, ...]. Raises as `pack_padded_sequence`."""
    return pack_padded_sequence(pad_sequence(sequences), [s._shape[0] for s in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences [length, ...] of a packed one."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


__all__ = ["PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence", "unpack_sequence",
           "unpad_sequence"]
