"""Unpacks the zip of a pack into a folder that is named by what it holds."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from domains.pack import MANIFEST, DomainError, digest_of, load

BIGGEST = 200 * 1024 * 1024  # bytes, unpacked


def unpack(path: Path, parent: Path) -> Path:
    """The pack's folder under ``parent``; nothing stays there of a zip that is refused.

    Raises:
        DomainError: no zip, damaged, encrypted or too big, points outside, or holds no pack.
    """
    parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=parent))
    try:
        _extract(path, aside)
        roots = sorted(aside.rglob(MANIFEST), key=lambda found: len(found.parts))
        if not roots:
            raise DomainError(f"{path}: holds no {MANIFEST}")
        domain = load(roots[0].parent, trust_code=False) if not (roots[0].parent / "hooks.py").exists() else None
        final = parent / (domain.digest if domain else digest_of(roots[0].parent))[:16]
        if not final.exists():
            roots[0].parent.rename(final)
        return final
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _extract(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > BIGGEST:
                raise DomainError(f"{path}: unpacks to {size:,} bytes, and at most {BIGGEST:,} are taken")
            for info in archive.infolist():
                if not (folder / info.filename).resolve().is_relative_to(folder.resolve()):
                    raise DomainError(f"{path}: entry {info.filename!r} points outside the pack; nothing was unpacked")
            archive.extractall(folder)
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: encrypted
        raise DomainError(f"{path}: cannot be unpacked: {error}") from error
