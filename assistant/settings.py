"""Every setting in one place: environment variables ``ASSISTANT_*`` over ``assistant.toml`` over defaults."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

PREFIX = "ASSISTANT_"
FILE = "assistant.toml"


class SettingsError(Exception):
    """A setting is wrong; the message names it, where it was found, and what it may be."""


class Settings(BaseModel):
    """What an operator can choose. Paths may start with ``~``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default_factory=lambda: user_data_path("domain-assistant"))
    models: Path | None = None  # where pulled models lie; default: home/models
    chat_model: str | None = None  # a local folder or Hugging Face id; default: the pulled model
    embedder: str | None = None  # likewise
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"  # "cpu", "cuda", "cuda:1"
    engine: str = "torch"  # in this process; or an OpenAI-compatible server's http://host:port/v1
    engine_key: SecretStr | None = None  # what that server asks for
    engine_model: str | None = None  # what the base model is called there; default: the one that is listed
    engine_adapters: Path | None = None  # where adapters are laid for it, same path on both; default: in home
    threads: int | None = Field(default=None, ge=1)  # for torch; default: all cores
    domains: tuple[Path, ...] = ()  # further pack folders, beside the shipped ones
    database: str | None = None  # SQLAlchemy URL; default: SQLite in home
    index: str | None = None  # postgresql://… keeps documents and indexes for many machines; default: files in home
    host: str = "127.0.0.1"
    port: int = Field(default=7860, ge=1, le=65535)
    max_tokens: int = Field(default=160, ge=16, le=2048)
    concurrency: int = Field(default=8, ge=1, le=256)  # turns at once; further ones are told to wait
    adapter_key: Path | None = None  # ed25519 public key (PEM); if set, only adapters signed with it speak
    adapter_rank: int = Field(default=64, ge=1)  # largest that torch serves: all are computed as wide as the widest
    adapters: bool = True  # false: every pack speaks with the bare base model

    @field_validator("engine")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if not re.fullmatch(r"torch|https?://.+", value):
            raise ValueError("expected 'torch', or the http:// or https:// address of a server, which ends in /v1")
        return value

    @property
    def models_dir(self) -> Path:
        """Where pulled models lie."""
        return self.models or self.home / "models"

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the state."""
        return self.database or f"sqlite:///{self.home / 'state.db'}"


def load(environment: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: an unknown key, or a value that does not fit.
    """
    environment = os.environ if environment is None else environment
    path = file or Path(environment.get(f"{PREFIX}CONFIG", FILE))
    values: dict[str, object] = {}
    if path.exists():
        try:
            values |= tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path}: not valid TOML: {error}") from error
    elif file is None and f"{PREFIX}CONFIG" in environment:
        raise SettingsError(f"{path}: no such file, and {PREFIX}CONFIG names it; correct the path or unset it")
    for name in Settings.model_fields:
        raw = environment.get(PREFIX + name.upper())
        if raw is not None:
            values[name] = [Path(part) for part in raw.split(os.pathsep) if part] if name == "domains" else raw
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise SettingsError(
            f"setting {key!r} ({PREFIX}{key.upper()} or {path}): {first['msg']}, found {first['input']!r}; "
            f"known settings: {', '.join(Settings.model_fields)}"
        ) from error
    return settings.model_copy(update=_expanded(settings))


def _expanded(settings: Settings) -> dict[str, object]:
    return {
        "home": settings.home.expanduser().absolute(),
        "engine_adapters": settings.engine_adapters.expanduser().absolute() if settings.engine_adapters else None,
        "adapter_key": settings.adapter_key.expanduser().absolute() if settings.adapter_key else None,
        "models": settings.models.expanduser().absolute() if settings.models else None,
        "domains": tuple(path.expanduser().absolute() for path in settings.domains),
    }
