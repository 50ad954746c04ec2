"""Compiled code on disk, found by content.

A file is complete or it does not count: it is written under a temporary name and renamed into place, and it carries
its length and a checksum, so a truncated or altered file is noticed, removed and made again. Several processes may
use one directory at once. A directory that cannot be written to, or a full disk, costs recompilation, never an error.

One payload may answer several keys (kernels compiled together): its file then has one hard link a key.
"""
from __future__ import annotations

import errno
import functools
import os
import struct
import sys
import time
import zlib
from collections.abc import Sequence

try:
    from _blake2 import blake2b  # importing hashlib would load OpenSSL, which takes milliseconds
except ImportError:
    from hashlib import blake2b

_HEADER = struct.Struct("<8sQII")  # magic, payload length, payload checksum, checksum of the fields before
_MAGIC = b"ToRShO1\n"
_SUFFIX = ".code"
_STALE_SECONDS = 3600.0
_PUTS_BETWEEN_SCANS = 256


def digest(text: str) -> str:
    """A name for a content: 32 hexadecimal digits of BLAKE2b.

    >>> digest("code")
    'e33f70fd9afeade726586ae8286bd0bb'
    """
    return blake2b(text.encode(), digest_size=16).hexdigest()


def default_directory() -> str:
    """TORSH_CACHE_DIR, or the platform's place for a user's caches."""
    named = os.environ.get("TORSH_CACHE_DIR")
    if named:
        return named
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(base, "torsh")


class Cache:
    """A directory of payloads by key, at most `limit` bytes, the longest unused removed first.

    >>> import tempfile
    >>> cache = Cache(tempfile.mkdtemp())
    >>> cache.put(["a", "b"], b"code")
    >>> cache.get("b"), cache.get("c")
    (b'code', None)
    """

    def __init__(self, path: str, limit: int = 512 << 20) -> None:
        self.path = path
        self.limit = limit
        self._known_bytes: int | None = None
        self._puts = 0
        self._warned = False

    def get(self, key: str) -> bytes | None:
        """The payload stored for `key`, or None."""
        path = self._file(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            data = os.read(descriptor, status.st_size + 1)
            while 0 < len(data) < status.st_size:
                more = os.read(descriptor, status.st_size - len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            self._warn(f"cannot read {path}: {error}")
            return None
        finally:
            os.close(descriptor)
        payload = checked(data)
        if payload is None:
            _log("INFO", f"removing damaged cache file {path}")
            _remove(path)
            return None
        if time.time() - status.st_mtime > _STALE_SECONDS:  # the time of last use, kept to the hour
            try:
                os.utime(path)
            except OSError:
                pass
        return payload

    def put(self, keys: Sequence[str], payload: bytes) -> None:
        """Store `payload` under every key of `keys`. Failing to is logged once, not raised."""
        fields = struct.pack("<8sQI", _MAGIC, len(payload), zlib.crc32(payload))
        data = fields + struct.pack("<I", zlib.crc32(fields)) + payload
        temporary = os.path.join(self.path, f"tmp-{os.getpid()}-{os.urandom(6).hex()}")
        try:
            try:
                self._write(temporary, data)
            except FileNotFoundError:
                os.makedirs(self.path, mode=0o700, exist_ok=True)
                self._write(temporary, data)
            for key in keys[1:]:
                self._link(temporary, data, self._file(key))
            os.replace(temporary, self._file(keys[0]))
        except OSError as error:
            _remove(temporary)
            self._warn(f"cannot store compiled code in {self.path}: {error}")
            return
        self._account(len(data))

    def info(self) -> dict[str, object]:
        """`path`, `files` (keys stored) and `bytes` on disk."""
        entries = self._scan()
        sizes = {inode: size for _, inode, size, _ in entries}
        return {"path": self.path, "files": len(entries), "bytes": sum(sizes.values())}

    def clear(self) -> None:
        """Remove everything stored."""
        for path, _, _, _ in self._scan(stale_seconds=0.0):
            _remove(path)
        self._known_bytes = None

    def _file(self, key: str) -> str:
        return os.path.join(self.path, digest(key) + _SUFFIX)

    def _write(self, path: str, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view):]
        finally:
            os.close(descriptor)

    def _link(self, temporary: str, data: bytes, path: str) -> None:
        step = f"{temporary}-l"
        try:
            os.link(temporary, step)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            self._write(step, data)  # a file system without hard links
        try:
            os.replace(step, path)
        except OSError:
            _remove(step)
            raise
        _remove(step)  # rename of one link onto another of the same file leaves both

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            _log("WARNING", message)

    def _account(self, written: int) -> None:
        self._puts += 1
        if self._known_bytes is not None:
            self._known_bytes += written
        if self._known_bytes is None or self._known_bytes > self.limit or self._puts % _PUTS_BETWEEN_SCANS == 0:
            self._evict()

    def _evict(self) -> None:
        """Bring the directory under its limit, with a quarter to spare when it was above."""
        by_inode: dict[int, tuple[float, int, list[str]]] = {}
        for path, inode, size, used in self._scan():
            by_inode.setdefault(inode, (used, size, []))[2].append(path)
        total = sum(size for _, size, _ in by_inode.values())
        if total > self.limit:
            for _, size, paths in sorted(by_inode.values(), key=lambda entry: entry[0]):
                if total <= self.limit * 3 // 4:
                    break
                for path in paths:
                    _remove(path)
                total -= size
        self._known_bytes = total

    def _scan(self, stale_seconds: float = _STALE_SECONDS) -> list[tuple[str, int, int, float]]:
        """(path, inode, bytes, last use) of each stored file; temporary files left by killed writers are removed."""
        found: list[tuple[str, int, int, float]] = []
        now = time.time()
        try:
            with os.scandir(self.path) as entries:
                for number, entry in enumerate(entries):
                    try:
                        status = entry.stat()
                    except OSError:
                        continue  # removed by another process meanwhile
                    if entry.name.endswith(_SUFFIX):
                        inode = status.st_ino or -number - 1  # no inode numbers: each file counts
                        found.append((entry.path, inode, status.st_size, status.st_mtime))
                    elif entry.name.startswith("tmp-") and now - status.st_mtime >= stale_seconds:
                        _remove(entry.path)
        except OSError:
            pass
        return found


def checked(data: bytes) -> bytes | None:
    """The payload of a file's content, or None where header, length or checksum do not fit."""
    if len(data) < _HEADER.size:
        return None
    magic, length, checksum, header_checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC or zlib.crc32(data[:_HEADER.size - 4]) != header_checksum:
        return None
    payload = data[_HEADER.size:]
    if len(payload) != length or zlib.crc32(payload) != checksum:
        return None
    return payload


def _log(level: str, message: str) -> None:
    import logging
    logging.getLogger("torsh.cache").log(logging.getLevelName(level), message)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


@functools.cache
def disk() -> Cache:
    """The process's cache, in `default_directory()` as it was at the first call.

    TORSH_CACHE_BYTES bounds its size (default 512 MiB).
    """
    return Cache(default_directory(), int(os.environ.get("TORSH_CACHE_BYTES", 512 << 20)))
