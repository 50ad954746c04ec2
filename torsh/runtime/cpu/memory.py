"""A caching allocator of CPU memory: what is freed is kept for the next request of its size.

A large temporary from the system costs a page fault for every 4 KiB each time (32 ms for 64 MiB, where filling it
takes 3 ms). So memory comes from the system in regions aligned for 2 MiB pages, which make the first use 5 to 10 times
cheaper, and goes back to it only when much more lies idle than is used.

Sizes are rounded up to classes: multiples of 64 bytes, four classes to a doubling below 1 MiB and eight above. Blocks
of up to 1 MiB are carved from shared regions of 16 MiB, larger ones have a region of their own.

Freeing happens in finalizers, at any point of any thread. It takes no lock: appending to a list and popping from it
are atomic, and so are the counters' updates, between which the interpreter does not switch threads.
"""
from __future__ import annotations

import ctypes
import mmap
import os
import threading
from bisect import bisect_left
from typing import Any, Final

import numpy as np

from torsh.core.errors import OutOfMemoryError

ALIGNMENT: Final = 64
_HUGE_PAGE = 2 << 20
#: The largest class carved from shared regions, and the size of those.
_CARVED = 1 << 20
_SHARED_REGION = 16 << 20
#: From this size on blocks are shared by sizes up to nearly double, and replace smaller ones.
_VERY_LARGE = 16 << 20
#: Requests of up to this find their class in a table.
_TABLE: Final = 64 << 10
#: Neighbouring blocks start at different places within pages: equal ones would compete for the same cache sets when
#: a kernel walks many arrays in step.
_STAGGER = 9 * ALIGNMENT
_STAGGERED = 16 << 10
#: Idle memory kept beyond half of the peak use.
_SPARE = 256 << 20


def _class_sizes() -> list[int]:
    sizes = [64, 128, 192, 256]
    while sizes[-1] < 1 << 46:
        steps = 4 if sizes[-1] < 1 << 20 else 8
        base = sizes[-1]
        sizes += [base + base * i // steps for i in range(1, steps + 1)]
    return sizes


_SIZES: Final = _class_sizes()
_FIRST_LARGE: Final = next(i for i, size in enumerate(_SIZES) if size > _CARVED)
_free: Final[list[list[int]]] = [[] for _ in _SIZES]  # addresses, by class


def _class_table() -> list[int]:
    table, index = [], 0
    for size in range(0, _TABLE + 1, ALIGNMENT):
        index += _SIZES[index] < size
        table.append(index)
    return table


_CLASS_OF_LINES: Final = _class_table()


def _class_of(nbytes: int) -> int:
    """The smallest class of at least `nbytes`."""
    size_class = bisect_left(_SIZES, nbytes)
    if size_class == len(_SIZES):
        raise OutOfMemoryError(f"cannot allocate {nbytes} bytes")
    return size_class


class _Counters:
    __slots__ = ("allocated", "allocations", "blocks", "idle_large", "peak", "reserved")

    def __init__(self) -> None:
        self.allocated = 0  # bytes in live blocks, rounded to their classes
        self.peak = 0
        self.reserved = 0  # bytes of regions held from the system
        self.blocks = 0  # live
        self.allocations = 0
        self.idle_large = 0  # bytes in free blocks that have a region of their own


_counters: Final = _Counters()


class Block:
    """Memory of at least `nbytes` bytes at `address`, a multiple of 64; it is free again when the block is dropped.

    >>> block = allocate(100)
    >>> block.address % 64, block.nbytes
    (0, 100)
    """
    __slots__ = ("_size_class", "address", "nbytes")

    address: int
    nbytes: int

    def __init__(self, address: int, nbytes: int, size_class: int) -> None:
        self.address = address
        self.nbytes = nbytes
        self._size_class = size_class

    def array(self, dtype: np.dtype, count: int, byte_offset: int = 0) -> np.ndarray:
        """`count` elements of the memory as a 1-d NumPy array, which keeps the block alive, as do views of it.

        Raises TypeError or ValueError when the elements do not fit.

        >>> allocate(64).array(np.dtype(np.float32), 3, byte_offset=8).shape
        (3,)
        """
        return np.ndarray((count,), dtype, self.view(), byte_offset)

    def view(self) -> Any:
        """A new object over the memory that has the buffer protocol and keeps the block alive; arrays made on it do the same."""
        make = _views[self._size_class]
        if make is None:
            make = _views[self._size_class] = (ctypes.c_char * _SIZES[self._size_class]).from_address
        memory = make(self.address)
        memory.block = self
        return memory

    def __del__(self) -> None:
        self._give_back()

    # The globals are bound as defaults because a finalizer may run when the module's names are already gone.
    def _give_back(self, _free: list[list[int]] = _free, _sizes: list[int] = _SIZES, _counters: _Counters = _counters,
                   _first_large: int = _FIRST_LARGE) -> None:
        size_class = self._size_class
        _free[size_class].append(self.address)
        size = _sizes[size_class]
        _counters.allocated -= size
        _counters.blocks -= 1
        if size_class >= _first_large:
            _counters.idle_large += size

    def __repr__(self) -> str:
        return f"Block({self.nbytes} bytes at {self.address:#x})"


_views: Final[list[Any]] = [None] * len(_SIZES)  # what makes a ctypes array at an address, by class


def allocate(nbytes: int) -> Block:
    """A block of `nbytes` bytes with undefined content. Raises OutOfMemoryError when the system has none, ValueError for
    a negative size."""
    if nbytes <= _TABLE:
        if nbytes < 0:
            raise ValueError(f"allocate: negative size {nbytes}")
        size_class = _CLASS_OF_LINES[nbytes + 63 >> 6]
    else:
        size_class = _class_of(nbytes)
    free = _free[size_class]
    try:
        address = free.pop()
        if size_class >= _FIRST_LARGE:
            _counters.idle_large -= _SIZES[size_class]
    except IndexError:
        size_class, address = _fresh(size_class)
    counters = _counters
    allocated = counters.allocated + _SIZES[size_class]
    counters.allocated = allocated
    if allocated > counters.peak:
        counters.peak = allocated
    counters.blocks += 1
    counters.allocations += 1
    return Block(address, nbytes, size_class)


_lock = threading.RLock()
_regions: dict[int, tuple[mmap.mmap, int]] = {}  # of large blocks, by address: the mapping and its bytes
_shared: list[mmap.mmap] = []  # of carved blocks; these stay
_carving = [0, 0]  # the rest of the newest shared region: begin, end
_region_count = 0


def _fresh(size_class: int) -> tuple[int, int]:
    """An address for a class none of which is free; the class may be a larger one, of which there is."""
    if size_class >= _FIRST_LARGE:
        # Sizes that vary a little from call to call share blocks, rather than piling up one for each; and so do very large ones up to
        # nearly double the size, for there are few of them (the arenas of a first step and of those after it).
        most = 3 if _SIZES[size_class] < _VERY_LARGE else 8
        for near in range(size_class + 1, min(size_class + most, len(_SIZES))):
            try:
                address = _free[near].pop()
            except IndexError:
                continue
            _counters.idle_large -= _SIZES[near]
            return near, address
        with _lock:
            if _SIZES[size_class] >= _VERY_LARGE:  # one idle block of the sizes that will share the new one goes
                _replace(size_class)
            return size_class, _large(_SIZES[size_class])
    with _lock:
        return size_class, _carve(_SIZES[size_class])


def _map(size: int) -> tuple[mmap.mmap, int]:
    """Anonymous memory and the address in it where `size` bytes begin at the start of a huge page.

    What lies before and behind is never touched, and so takes no memory; a last part that does not fill a huge page
    is left to small ones for the same reason.
    """
    try:
        if hasattr(mmap, "MAP_ANONYMOUS"):
            memory = mmap.mmap(-1, size + _HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            memory = mmap.mmap(-1, size + _HUGE_PAGE)
    except (OSError, OverflowError) as error:
        raise OutOfMemoryError(f"cannot allocate {size} bytes: {error}") from None
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    slack = -base % _HUGE_PAGE
    if hasattr(mmap, "MADV_HUGEPAGE") and size >= _HUGE_PAGE:
        try:
            memory.madvise(mmap.MADV_HUGEPAGE, slack, size - size % _HUGE_PAGE)
        except OSError:
            pass  # a kernel built without them
    return memory, base + slack


def _large(size: int) -> int:
    global _region_count
    counters = _counters
    excess = counters.reserved + size - (counters.peak + counters.peak // 2 + _SPARE)
    if excess > 0:
        _release(excess)
    _region_count += 1
    stagger = _region_count % 16 * _STAGGER
    try:
        memory, address = _map(size + stagger)
    except MemoryError:
        if not empty_cache():
            raise
        memory, address = _map(size + stagger)
    address += stagger
    _regions[address] = memory, size
    counters.reserved += size
    return address


def _carve(size: int) -> int:
    spacing = size + _STAGGER if size >= _STAGGERED else size
    begin, end = _carving
    if end - begin < spacing:
        rest_begin, rest_end = begin, end
        memory, begin = _map(_SHARED_REGION)
        _shared.append(memory)
        _counters.reserved += _SHARED_REGION
        end = begin + _SHARED_REGION
        _use_up(rest_begin, rest_end)
    _carving[:] = begin + spacing, end
    return begin


def _use_up(begin: int, end: int) -> None:
    """Give the rest of a shared region to the classes that fit in it."""
    for size_class in range(_FIRST_LARGE - 1, -1, -1):
        size = _SIZES[size_class]
        while end - begin >= size:
            _free[size_class].append(begin)
            begin += size


def _release(nbytes: int) -> int:
    """Return idle regions of large blocks to the system until `nbytes` are; returns how many were."""
    released = 0
    for size_class in range(len(_SIZES) - 1, _FIRST_LARGE - 1, -1):
        while _free[size_class] and released < nbytes:
            released += _return_one(size_class)
    return released


def _replace(size_class: int) -> None:
    """Return the largest idle block of the classes whose requests a new block of this class can serve, if there is one."""
    for smaller in range(size_class - 1, size_class - 8, -1):
        if _SIZES[smaller] >= _VERY_LARGE and _free[smaller]:
            _return_one(smaller)
            return


def _return_one(size_class: int) -> int:
    """Return the region of a class that has been idle for longest to the system; returns its bytes."""
    try:
        address = _free[size_class].pop(0)
    except IndexError:
        return 0  # another thread took the last one
    _counters.idle_large -= _SIZES[size_class]
    _, size = _regions.pop(address)  # the mapping ends with its last reference
    _counters.reserved -= size
    return size


def empty_cache() -> int:
    """Return the memory of free blocks above 1 MiB to the system; returns the number of bytes."""
    with _lock:
        return _release(1 << 62)


def stats() -> dict[str, int]:
    """Bytes `allocated` (in live blocks, rounded to classes), `peak` of it, `reserved` from the system, `idle_large`
    (free, and returnable by `empty_cache`), `blocks` alive and `allocations` so far."""
    return {name: getattr(_counters, name) for name in ("allocated", "allocations", "blocks", "idle_large", "peak", "reserved")}


def reset_peak() -> None:
    """Let the peak begin again at what is allocated now."""
    _counters.peak = _counters.allocated


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # the parent's may have been held by a thread that does not exist here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
