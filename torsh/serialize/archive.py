"""PyTorch's checkpoint archives: zip files without compression, whose records lie in one folder and begin at multiples of 64 bytes."""
from __future__ import annotations

import os
import struct
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np

from torsh.serialize.files import is_path

ALIGNMENT = 64
_LOCAL_HEADER = 30  # bytes before the name: APPNOTE.TXT, 4.3.7
_BIG = 0xFFFFFFFF


class PyTorchFileWriter:
    """Writes records to a file name or a binary file; `write_end_of_file` completes the archive.

    >>> import io
    >>> file = io.BytesIO()
    >>> writer = PyTorchFileWriter(file)
    >>> writer.write_record("greeting", b"hello")
    >>> writer.write_end_of_file()
    >>> PyTorchFileReader(file).get_record("greeting")
    b'hello'
    """

    def __init__(self, f: str | os.PathLike[str] | BinaryIO, *, archive_name: str | None = None) -> None:
        name = os.path.splitext(os.path.basename(os.fspath(f)))[0] if is_path(f) else "archive"  # type: ignore[arg-type]
        self._name = archive_name or name or "archive"
        self._zip: zipfile.ZipFile | None = zipfile.ZipFile(f, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._written: list[str] = []

    def archive_name(self) -> str:
        """The folder that the records lie in."""
        return self._name

    def get_all_written_records(self) -> list[str]:
        """The records' names."""
        return list(self._written)

    def write_record(self, name: str, data: Any, size: int | None = None) -> None:
        """Add a record: bytes, text, or an array's memory. Raises RuntimeError for a name that is there and after the end."""
        if self._zip is None:
            raise RuntimeError(f"write_record: the archive {self._name!r} is complete")
        if name in self._written:
            raise RuntimeError(f"write_record: a record {name!r} is there already")
        held = data.encode() if isinstance(data, str) else data
        content = memoryview(held).cast("B")[:size] if len(memoryview(held).cast("B")) else memoryview(b"")
        entry = zipfile.ZipInfo(f"{self._name}/{name}", (1980, 1, 1, 0, 0, 0))
        large = 20 if len(content) * 1.05 > zipfile.ZIP64_LIMIT else 0
        begin = self._zip.start_dir + _LOCAL_HEADER + len(entry.filename.encode()) + large + 4
        padding = -begin % ALIGNMENT
        entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        self._zip.writestr(entry, content)
        self._written.append(name)

    def write_end_of_file(self) -> None:
        """Write what makes the records an archive. A second call does nothing."""
        if self._zip is None:
            return
        identity = zlib.crc32("".join(self._written).encode())
        self.write_record("version", b"3\n")
        self.write_record(".data/serialization_id", f"{identity:040d}")
        self._zip.close()
        self._zip = None


class PyTorchFileReader:
    """Reads the records of an archive, from a file name or a binary file. Raises RuntimeError for a file that is none, or is cut off."""

    def __init__(self, f: str | os.PathLike[str] | BinaryIO) -> None:
        self._what = repr(os.fspath(f)) if is_path(f) else "the file given"  # type: ignore[arg-type]
        try:
            self._zip = zipfile.ZipFile(f)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError, UnicodeDecodeError) as error:
            raise RuntimeError(f"PyTorchFileReader: {self._what} is cut off or no checkpoint ({error}); save or copy it again") from None
        names = self._zip.namelist()
        if not names or "/" not in names[0]:
            raise RuntimeError(f"PyTorchFileReader: {self._what} is a zip file but no checkpoint: its files lie in no folder")
        self._name = names[0].split("/", 1)[0]
        self._entries = {i.filename.split("/", 1)[1]: i for i in self._zip.infolist() if i.filename.startswith(self._name + "/")}

    def archive_name(self) -> str:
        """The folder that the records lie in."""
        return self._name

    def get_all_records(self) -> list[str]:
        """The records' names."""
        return list(self._entries)

    def has_record(self, name: str) -> bool:
        """Whether there is a record."""
        return name in self._entries

    def _entry(self, name: str) -> zipfile.ZipInfo:
        found = self._entries.get(name)
        if found is None:
            raise RuntimeError(f"PyTorchFileReader: {self._what} has no record {name!r}; it is incomplete")
        return found

    def record_size(self, name: str) -> int:
        """Bytes of a record. Raises RuntimeError for one that is not there."""
        return self._entry(name).file_size

    def get_record(self, name: str) -> bytes:
        """A record's bytes. Raises RuntimeError for one that is not there, and for bytes that are not those that were written."""
        return self.record_array(name).tobytes()

    def record_array(self, name: str) -> np.ndarray:
        """As `get_record`, as a new array of uint8."""
        entry = self._entry(name)
        out = np.empty(entry.file_size, np.uint8)
        try:
            with self._zip.open(entry) as record:
                done = 0
                while done < out.size:
                    part = record.read(min(out.size - done, 1 << 24))
                    if not part:
                        raise EOFError("it ends early")
                    out[done:done + len(part)] = np.frombuffer(part, np.uint8)
                    done += len(part)
                record.read(1)  # checks the sum of an empty record too
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, OSError, ValueError) as error:
            raise RuntimeError(f"PyTorchFileReader: the record {name!r} of {self._what} is damaged ({error}); save or copy the file again") from None
        return out

    def get_record_offset(self, name: str) -> int:
        """Where in the file a record's bytes begin. Raises RuntimeError for one that is not there or is compressed."""
        entry, file = self._entry(name), self._zip.fp
        if entry.compress_type != zipfile.ZIP_STORED or file is None:
            raise RuntimeError(f"PyTorchFileReader: the record {name!r} of {self._what} is compressed")
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise RuntimeError(f"PyTorchFileReader: the record {name!r} of {self._what} is damaged; save or copy the file again")
        return entry.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", header[26:30]))

    def version(self) -> int:
        """The version of the archive's format."""
        return int(self.get_record("version") if self.has_record("version") else b"0")


__all__ = ["ALIGNMENT", "PyTorchFileReader", "PyTorchFileWriter"]
