"""What a file may unpack to, with all that is packed in it. Counted before it is opened."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

from retrieval.files.text import FileError

BIGGEST = 100 * 1024 * 1024  # bytes of a file, and of all that one archive or document unpacks to
WHOLE = 5 * BIGGEST  # bytes, of a file and of everything in it together
MOST = 5_000  # files, in a file and in everything in it together


class Budget:
    """What is left for one file that a person named: handed down to the archives and mails in it."""

    def __init__(self) -> None:
        self._bytes, self._files = WHOLE, MOST

    def spend(self, size: int, files: int = 0) -> None:
        """Take what something unpacks to.

        Args:
            size: in bytes.
            files: that it holds; none for a document.

        Raises:
            FileError: it is more than one file may have, or than is left. Nothing was taken then.
        """
        most = min(BIGGEST, self._bytes)
        if size > most or files > self._files:
            found = f"holds {files:,} files of {size:,} bytes" if files else f"unpacks to {size:,} bytes"
            limit = f"{self._files:,} of {most:,}" if files else f"{most:,}"
            after = ", after what lay before it" if (self._bytes, self._files) != (WHOLE, MOST) else ""
            raise FileError(f"it {found}; at most {limit} are read{after}")
        self._bytes, self._files = self._bytes - size, self._files - files


def unpacked(file: Path | BinaryIO) -> int:
    """Bytes that a zip unpacks to, and so a document that is one inside; 0 for anything else.

    Its directory may lie, but Python's readers unpack no more than it says.

    Raises:
        BadZipFile: it is a damaged zip.
    """
    if not zipfile.is_zipfile(file):
        return 0
    with zipfile.ZipFile(file) as archive:
        return sum(one.file_size for one in archive.infolist())
