"""A broken pack is refused with its file, the key or line, and the reason; a whole one comes as it was written."""

from __future__ import annotations

import importlib.util
import py_compile
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from domains.api import Request
from domains.pack import DomainError, digest_of, load, read_exam

TinyPack = Callable[..., Path]
Mutation = Callable[[Path], object]
HOOKS = '''"""Hooks."""
from domains.api import Finding, Reply, Request
def check_input(text: str) -> list[Finding]:
    return [Finding("test.seen", "note", "input", "seen")]
def respond(request: Request) -> Reply | None:
    return Reply("hello", tool="greet")
'''


@pytest.fixture
def pack(tiny_pack: TinyPack, tmp_path: Path) -> Path:
    return tiny_pack(tmp_path / "library")


def edit(file: str, old: str, new: str) -> Mutation:
    """Replace a text that is known to be there."""

    def mutate(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new, 1))

    return mutate


def append(file: str, text: str) -> Mutation:
    return lambda root: (root / file).write_text((root / file).read_text() + text)


def write(file: str, content: str | bytes) -> Mutation:
    return lambda root: (root / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def delete(file: str) -> Mutation:
    return lambda root: (root / file).unlink()


BROKEN: dict[str, tuple[Mutation, str, str, str]] = {
    "no manifest": (delete("domain.yaml"), "domain.yaml", "", "missing; every domain pack needs it"),
    "manifest is no YAML": (write("domain.yaml", "a: [1"), "domain.yaml", "", "not valid YAML: "),
    "manifest is empty": (write("domain.yaml", ""), "domain.yaml", "(whole)", "found None"),
    "manifest is a list": (write("domain.yaml", "- a"), "domain.yaml", "(whole)", "found ['a']"),
    "manifest is no text": (write("domain.yaml", b"\xff\xfe\x00"), "domain.yaml", "", "cannot be read as UTF-8 text"),
    "manifest runs code": (
        write("domain.yaml", "name: !!python/object/apply:os.system [true]"), "domain.yaml", "", "not valid YAML: ",
    ),
    "unknown key": (append("domain.yaml", "colour: blue\n"), "domain.yaml", "colour", "Extra inputs are not permitted"),
    "unknown nested key": (
        edit("domain.yaml", "evidence: 0.2", "evidence: 0.2\n  rout: 0.1"), "domain.yaml", "thresholds.rout", "Extra",
    ),
    "key missing": (edit("domain.yaml", "crisis_text:", "title:"), "domain.yaml", "crisis_text", "Field required"),
    "bad name": (edit("domain.yaml", "name: library", "name: My Library"), "domain.yaml", "name", "match pattern"),
    "adapter is no name": (append("domain.yaml", "adapter: ../x\n"), "domain.yaml", "adapter", "match pattern"),
    "bad regex": (
        edit("rules.yaml", "\\bwaive\\b", "(waive"), "rules.yaml", "must_hold.0.any.0", "'(waive' is not a regular",
    ),
    "unknown rule family": (append("rules.yaml", "must_smile: []\n"), "rules.yaml", "must_smile", "Extra inputs"),
    "rules are empty": (write("rules.yaml", ""), "rules.yaml", "(whole)", "found None"),
    "JSON broken in line 3": (
        edit("examples.jsonl", '{"text": "can I renew', '"text": "can I renew'), "examples.jsonl, line 3", "", "not valid",
    ),
    "JSON cut in the last line": (
        append("training.jsonl", '\n\n{"ask": "x"'), "training.jsonl, line 5", "", "not valid JSON: ",
    ),
    "a line is no object": (append("golden.jsonl", "7\n"), "golden.jsonl, line 3", "(whole)", "found 7"),
    "unknown key in a line": (
        edit("golden.jsonl", '"cites": ["loans"]', '"sites": ["loans"]'), "golden.jsonl, line 1", "sites", "Extra inputs",
    ),
    "unknown expectation": (
        edit("golden.jsonl", '"refuse"', '"decline"'), "golden.jsonl, line 2", "expect", "found 'decline'",
    ),
    "unknown intent": (
        edit("examples.jsonl", '"intent": "loan"', '"intent": "lone"'),
        "examples.jsonl", "'how long can I keep a book'", "intent 'lone', which domain.yaml lacks",
    ),
    "unknown citation": (
        edit("golden.jsonl", '["loans"]', '["lones"]'),
        "golden.jsonl", "'For how many days", "citation 'lones', and knowledge has no such article",
    ),
    "unknown lesson source": (
        edit("training.jsonl", "loans#Loan", "lones#Loan"),
        "training.jsonl", "'How long is a loan?'", "source 'lones#Loan period', and knowledge has no such article",
    ),
    "no knowledge": (lambda root: shutil.rmtree(root / "knowledge"), "knowledge", "", "no *.md article"),
    "no front matter": (
        write("knowledge/fees.md", "## Late fee\n\nMuch."), "fees.md", "", "no front matter; expected '---', title,",
    ),
    "front matter not closed": (
        write("knowledge/fees.md", "---\ntitle: Fees\n\n## Late fee\nMuch."), "fees.md", "", "no front matter",
    ),
    "front matter without source": (
        edit("knowledge/fees.md", "source: House rules of the library\n", ""), "fees.md: front matter", "source", "required",
    ),
    "front matter with an unknown key": (
        edit("knowledge/fees.md", "licence:", "author: me\nlicence:"), "fees.md: front matter", "author", "Extra inputs",
    ),
    "front matter is no YAML": (
        edit("knowledge/fees.md", "title: Fees", "title: [Fees"), "fees.md", "", "front matter is not valid YAML: ",
    ),
    "front matter with a bad date": (
        edit("knowledge/fees.md", "2026-01-05", "yesterday"), "fees.md: front matter", "date", "found 'yesterday'",
    ),
    "article without text": (
        write("knowledge/fees.md", "---\ntitle: T\nsource: S\ndate: 2026-01-05\nlicence: L\n---\n \n"),
        "fees.md", "", "no text after the front matter",
    ),
    "facts without a head": (
        write("facts.csv", "book,is,good,loans\n"), "facts.csv, line 1", "", "expected subject,predicate,object,source",
    ),
    "facts with an empty cell": (
        append("facts.csv", "book,,21,loans\n"), "facts.csv, line 3", "", "expected four filled cells, found ['book', ''",
    ),
    "facts of no article": (
        append("facts.csv", "book,is,good,lones#fee\n"), "facts.csv, line 3", "", "source 'lones#fee' is no article of knowledge/",
    ),
    "facts with five cells": (append("facts.csv", "a,b,c,d,e\n"), "facts.csv, line 3", "", "expected four filled cells"),
}  # fmt: skip


@pytest.mark.parametrize(("mutate", "file", "key", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_pack_is_refused_with_file_key_and_reason(
    pack: Path, mutate: Mutation, file: str, key: str, reason: str
) -> None:
    mutate(pack)
    with pytest.raises(DomainError) as caught:
        load(pack)
    message = str(caught.value)
    assert message.startswith(str(pack)), message
    assert file in message and key in message and reason in message, message


def test_a_whole_pack_comes_as_it_was_written(pack: Path) -> None:
    domain = load(pack)
    assert domain.name == "library" and domain.root == pack
    assert [article.id for article in domain.articles] == ["fees", "loans", "rooms"]
    assert domain.articles[0].text.startswith("## Late fee\n\nThe late fee for a book is 0.25 euros a day.")
    assert (domain.articles[0].date, domain.articles[0].licence) == ("2026-01-05", "Apache-2.0")
    assert (len(domain.examples), len(domain.golden), len(domain.lessons), len(domain.facts)) == (24, 2, 2, 1)
    assert domain.hooks.respond is None and domain.hooks.check_input is None and domain.hooks.check_output is None


@pytest.mark.parametrize("file", ["rules.yaml", "examples.jsonl", "golden.jsonl", "training.jsonl", "facts.csv"])
def test_what_is_optional_may_be_absent(pack: Path, file: str) -> None:
    (pack / file).unlink()
    assert load(pack).name == "library"


def test_lines_may_be_blank_and_ends_of_lines_may_be_windows(pack: Path) -> None:
    before = load(pack)
    for path in [*pack.glob("*.jsonl"), *pack.rglob("*.md")]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    after = load(pack)
    assert (after.examples, after.articles) == (before.examples, before.articles)


def test_line_separators_inside_a_string_do_not_end_a_line_of_json(pack: Path) -> None:
    with (pack / "training.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"ask": "one\u2028two\u0085three", "answer": null, "source": null}\n')
    assert load(pack).lessons[-1].ask == "one\u2028two\u0085three"


def test_a_marker_inside_an_article_is_text(pack: Path) -> None:
    append("knowledge/fees.md", "\n---\nAfter a ruler.\n")(pack)
    assert load(pack).articles[0].text.endswith("---\nAfter a ruler.")


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DomainError) as caught:
        load(tmp_path / "absent")
    assert str(caught.value) == f"{tmp_path / 'absent'}: no such folder; a domain pack is a folder with a domain.yaml"


def test_untrusted_code_is_refused_with_its_digest_and_is_not_run(tiny_pack: TinyPack, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    pack = tiny_pack(tmp_path / "library", hooks=f"from pathlib import Path\nPath({str(ran)!r}).touch()\n")
    with pytest.raises(DomainError) as caught:
        load(pack)
    assert str(caught.value) == (
        f"{pack / 'hooks.py'}: this pack brings code, and its digest {digest_of(pack)[:16]} is not allowed here; "
        f"read the code, then allow it with 'assistant domains add {pack} --trust-code', or delete hooks.py"
    )
    assert not ran.exists()
    load(pack, trust_code=True)
    assert ran.exists()


def test_trusted_hooks_are_bound_by_their_reserved_names(tiny_pack: TinyPack, tmp_path: Path) -> None:
    hooks = load(tiny_pack(tmp_path / "library", hooks=HOOKS), trust_code=True).hooks
    assert hooks.check_input and hooks.check_input("x")[0].code == "test.seen"
    assert hooks.check_output is None
    reply = hooks.respond and hooks.respond(Request("hi", "", (), tmp_path, tmp_path))
    assert reply and (reply.text, reply.tool, reply.complete) == ("hello", "greet", True)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no licence')", "failed while being imported: RuntimeError('no licence')"),
        ("import sys\nsys.exit(3)", "failed while being imported: SystemExit(3)"),
        ("def respond(:", "failed while being imported: SyntaxError("),
        ("import not_a_module_of_ours", "failed while being imported: ModuleNotFoundError("),
        ("respond = 'hello'", "respond must be a function, found str"),
        ("check_output = 3", "check_output must be a function, found int"),
    ],
)
def test_hooks_that_cannot_be_used_are_refused_with_the_reason(
    tiny_pack: TinyPack, tmp_path: Path, code: str, reason: str
) -> None:
    pack = tiny_pack(tmp_path / "library", hooks=code)
    with pytest.raises(DomainError) as caught:
        load(pack, trust_code=True)
    assert str(caught.value).startswith(f"{pack / 'hooks.py'}: {reason}")


@pytest.mark.parametrize(
    "file",
    ["domain.yaml", "rules.yaml", "examples.jsonl", "golden.jsonl", "facts.csv", "knowledge/fees.md", "hooks.py"],
)
def test_the_digest_changes_with_any_byte(tiny_pack: TinyPack, tmp_path: Path, file: str) -> None:
    pack = tiny_pack(tmp_path / "library", hooks=HOOKS)
    before = digest_of(pack)
    content = bytearray((pack / file).read_bytes())
    for at in (0, len(content) // 2, len(content) - 1):
        changed = bytes(content[:at]) + bytes([content[at] ^ 1]) + bytes(content[at + 1 :])
        (pack / file).write_bytes(changed)
        assert digest_of(pack) != before
    (pack / file).write_bytes(bytes(content))
    assert digest_of(pack) == before


def test_the_digest_knows_names_and_new_files_and_not_the_place(pack: Path, tmp_path: Path) -> None:
    before = digest_of(pack)
    assert digest_of(Path(shutil.copytree(pack, tmp_path / "elsewhere"))) == before
    (pack / "knowledge" / "fees.md").rename(pack / "knowledge" / "fines.md")
    assert digest_of(pack) != before
    (pack / "knowledge" / "fines.md").rename(pack / "knowledge" / "fees.md")
    (pack / "data.csv").write_text("")
    assert digest_of(pack) != before


def test_caches_and_hidden_files_are_no_part_of_the_digest(pack: Path) -> None:
    before = digest_of(pack)
    (pack / "__pycache__").mkdir()
    (pack / "__pycache__" / "hooks.pyc").write_bytes(b"x")
    (pack / ".DS_Store").write_bytes(b"x")
    assert digest_of(pack) == before


def test_compiled_code_beside_the_source_is_never_run(pack: Path, tmp_path: Path) -> None:
    (pack / "hooks.py").write_text("def respond(request):\n    return None\n")
    evil = tmp_path / "evil.py"
    evil.write_text("raise RuntimeError('nobody read this')\n")
    cached = Path(importlib.util.cache_from_source(str(pack / "hooks.py")))
    cached.parent.mkdir()
    py_compile.compile(
        str(evil), cfile=str(cached), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, doraise=True
    )
    assert load(pack, trust_code=True).hooks.respond is not None


def test_an_exam_is_read_on_its_own(pack: Path, tmp_path: Path) -> None:
    assert read_exam(pack / "golden.jsonl") == load(pack).golden
    with pytest.raises(DomainError) as caught:
        read_exam(tmp_path / "absent.jsonl")
    assert str(caught.value) == f"{tmp_path / 'absent.jsonl'}: no such file"
