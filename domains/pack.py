"""Reads one domain pack from its folder. Everything is checked here; nothing broken gets further."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import NoReturn, TypeVar

import yaml
from pydantic import ValidationError

from domains.api import Check, CheckOutput, Respond
from domains.manifest import Example, FrontMatter, Golden, Lesson, Manifest, Rules, Strict

MANIFEST = "domain.yaml"
HOOKS = "hooks.py"
Row = TypeVar("Row", bound=Strict)


class DomainError(Exception):
    """A pack that cannot be used. The message names the file, the key or line, and the reason."""


@dataclass(frozen=True, slots=True)
class Article:
    """One knowledge article."""

    id: str  # file name without .md
    title: str
    source: str
    date: str  # ISO 8601
    licence: str
    text: str  # Markdown without the front matter


@dataclass(frozen=True, slots=True)
class Fact:
    """One edge of the pack's knowledge graph."""

    subject: str
    predicate: str
    object: str
    source: str  # an article's id, with #section behind it if the pack says so


@dataclass(frozen=True, slots=True)
class Hooks:
    """The pack's own code; each part is None where the pack does not define it."""

    check_input: Check | None = None
    check_output: CheckOutput | None = None
    respond: Respond | None = None


@dataclass(frozen=True, slots=True)
class Domain:
    """A checked pack, ready to serve."""

    root: Path
    digest: str  # SHA-256 over every file's relative path and content
    manifest: Manifest
    rules: Rules
    articles: tuple[Article, ...]
    examples: tuple[Example, ...]
    facts: tuple[Fact, ...]
    golden: tuple[Golden, ...]
    lessons: tuple[Lesson, ...]
    hooks: Hooks

    @property
    def name(self) -> str:
        """The pack's identifier."""
        return self.manifest.name


def load(root: Path, *, trust_code: bool = False) -> Domain:
    """Read and check the pack in ``root``.

    Args:
        root: the pack's folder.
        trust_code: whether its ``hooks.py`` may be imported. Without it a pack with code is refused.

    Raises:
        DomainError: something is missing or malformed; the message says where.
    """
    if not root.is_dir():
        raise DomainError(f"{root}: no such folder; a domain pack is a folder with a {MANIFEST}")
    manifest = _yaml(root / MANIFEST, Manifest)
    rules = _yaml(root / "rules.yaml", Rules) if (root / "rules.yaml").exists() else Rules()
    articles = tuple(_articles(root / "knowledge"))
    examples = tuple(_jsonl(root / "examples.jsonl", Example))
    golden = tuple(_jsonl(root / "golden.jsonl", Golden))
    lessons = tuple(_jsonl(root / "training.jsonl", Lesson))
    _check_references(root, manifest, articles, examples, golden, lessons)
    digest = digest_of(root)
    return Domain(
        root=root,
        digest=digest,
        manifest=manifest,
        rules=rules,
        articles=articles,
        examples=examples,
        facts=tuple(_facts(root / "facts.csv", {article.id for article in articles})),
        golden=golden,
        lessons=lessons,
        hooks=_hooks(root, manifest.name, digest, trust_code),
    )


def read_exam(path: Path) -> tuple[Golden, ...]:
    """The questions of a file in the format of golden.jsonl.

    Raises:
        DomainError: the file or a line of it cannot be read.
    """
    if not path.is_file():
        raise DomainError(f"{path}: no such file")
    return tuple(_jsonl(path, Golden))


def digest_of(root: Path) -> str:
    """SHA-256 over the pack's files, so that a changed byte anywhere changes it."""
    total = hashlib.sha256()
    for path in sorted(_files(root)):
        total.update(path.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield path


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DomainError(f"{path}: missing; every domain pack needs it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "(whole)"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key}: {first['msg']}, found {first['input']!r:.120}{more}"


def _yaml(path: Path, model: type[Row]) -> Row:
    try:
        return model.model_validate(yaml.safe_load(_read(path)))
    except yaml.YAMLError as error:
        raise DomainError(f"{path}: not valid YAML: {error}") from error
    except ValidationError as error:
        raise DomainError(f"{path}: {_explain(error)}") from error


def _jsonl(path: Path, model: type[Row]) -> Iterator[Row]:
    if not path.exists():
        return
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield model.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            raise DomainError(f"{path}, line {number}: not valid JSON: {error}") from error
        except ValidationError as error:
            raise DomainError(f"{path}, line {number}: {_explain(error)}") from error


def _articles(folder: Path) -> Iterator[Article]:
    paths = sorted(folder.glob("*.md"))
    if not paths:
        raise DomainError(f"{folder}: no *.md article; a pack without knowledge cannot answer")
    for path in paths:
        yield _article(path)


def _article(path: Path) -> Article:
    _, marker, rest = _read(path).partition("---\n")
    head, closing, body = rest.partition("\n---\n")
    if not marker or not closing:
        raise DomainError(f"{path}: no front matter; expected '---', title, source, date, licence, '---'")
    try:
        front = FrontMatter.model_validate(yaml.load(head, Loader=yaml.BaseLoader))  # noqa: S506 - strings only
    except yaml.YAMLError as error:
        raise DomainError(f"{path}: front matter is not valid YAML: {error}") from error
    except ValidationError as error:
        raise DomainError(f"{path}: front matter, {_explain(error)}") from error
    if not body.strip():
        raise DomainError(f"{path}: no text after the front matter")
    return Article(path.stem, front.title, front.source, front.date, front.licence, body.strip())


def _facts(path: Path, articles: Collection[str]) -> Iterator[Fact]:
    if not path.exists():
        return
    reader = csv.reader(_read(path).splitlines())
    columns = next(reader, [])
    if columns != ["subject", "predicate", "object", "source"]:
        raise DomainError(f"{path}, line 1: expected subject,predicate,object,source, found {','.join(columns)}")
    for row in reader:
        if len(row) != len(columns) or not all(cell.strip() for cell in row):
            raise DomainError(f"{path}, line {reader.line_num}: expected four filled cells, found {row!r}")
        fact = Fact(*(cell.strip() for cell in row))
        if fact.source.partition("#")[0] not in articles:
            raise DomainError(
                f"{path}, line {reader.line_num}: source {fact.source!r} is no article of knowledge/; "
                "expected a file's name without .md, with #section behind it if you like"
            )
        yield fact


def _check_references(
    root: Path,
    manifest: Manifest,
    articles: tuple[Article, ...],
    examples: tuple[Example, ...],
    golden: tuple[Golden, ...],
    lessons: tuple[Lesson, ...],
) -> None:
    known = {article.id for article in articles}
    for example in examples:
        if manifest.intent(example.intent) is None:
            _dangling(root / "examples.jsonl", example.text, f"intent {example.intent!r}, which {MANIFEST} lacks")
    for question in golden:
        for cited in question.cites:
            if not cited.startswith("tool:") and cited not in known:
                _dangling(root / "golden.jsonl", question.ask, f"citation {cited!r}, and knowledge has no such article")
    for lesson in lessons:
        if lesson.source and lesson.source.partition("#")[0] not in known:
            _dangling(
                root / "training.jsonl", lesson.ask, f"source {lesson.source!r}, and knowledge has no such article"
            )


def _dangling(path: Path, text: str, what: str) -> NoReturn:
    raise DomainError(f"{path}: {text!r:.60} has {what}")


def _hooks(root: Path, name: str, digest: str, trust_code: bool) -> Hooks:
    path = root / HOOKS
    if not path.exists():
        return Hooks()
    if not trust_code:
        raise DomainError(
            f"{path}: this pack brings code, and its digest {digest[:16]} is not allowed here; "
            f"read the code, then allow it with 'assistant domains add {root} --trust-code', or delete {HOOKS}"
        )
    module = _import(path, f"_pack_{name}_{digest[:16]}")
    reserved = {key: getattr(module, key, None) for key in ("check_input", "check_output", "respond")}
    for key, value in reserved.items():
        if value is not None and not callable(value):
            raise DomainError(f"{path}: {key} must be a function, found {type(value).__name__}")
    return Hooks(**reserved)


class _AsWritten(SourceFileLoader):
    """Runs the text that a pack's digest covers; others would take a .pyc that lies beside it, which nobody read."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - whichever name it gets
        return self.source_to_code(self.get_data(self.path), self.path)


def _import(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsWritten(name, str(path)))
    if spec is None or spec.loader is None:
        raise DomainError(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a pack that calls sys.exit must not end the server
        del sys.modules[name]
        raise DomainError(f"{path}: failed while being imported: {error!r}") from error
    return module
