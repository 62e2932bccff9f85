"""Documents into HTML: the list, what a file would become, and the receipt of a deletion. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ui.panels import button
from ui.render import chip, esc, notice

if TYPE_CHECKING:
    from assistant.intake import Draft, Skipped
    from retrieval.library import Entry, Receipt
    from retrieval.passage import Passage

SHOWN = 200  # passages of a preview


def listing(entries: Sequence[Entry], receipt: Receipt | None = None, receipts: Sequence[Receipt] = ()) -> str:
    """The documents of a domain, each with its delete button; above them what was just deleted, below all that was."""
    rows = "".join(_row(entry) for entry in entries)
    empty = notice("No documents yet. What you add here answers beside the pack's own articles.", "empty")
    head = "<tr><th>Document</th><th>Source</th><th>Date</th><th>Who may read it</th><th>Passages</th><th></th></tr>"
    table = f'<div class="scroll"><table class="documents">{head}{rows}</table></div>' if rows else empty
    return (deleted(receipt) if receipt else "") + table + (_receipts(receipts) if receipts else "")


def _row(entry: Entry) -> str:
    licence = f'<div class="hint">{esc(entry.licence)}</div>' if entry.licence else ""
    who = chip(entry.access, kind="domain") if entry.access else "everybody"
    delete = button("delete", "Delete", key=entry.id, kind="danger", confirm="Delete for good?")
    return (
        f'<tr id="document-{esc(entry.id)}"><td><b>{esc(entry.title)}</b><div class="hint">{esc(entry.file)}</div></td>'
        f"<td>{esc(entry.source)}{licence}</td><td>{esc(entry.date)}</td><td>{who}</td><td>{entry.passages}</td>"
        f"<td>{delete}</td></tr>"
    )


def _receipts(receipts: Sequence[Receipt]) -> str:
    rows = "".join(
        f"<tr><td>{one.number}</td><td>{esc(one.document)}</td><td>{esc(one.time)}</td><td>{len(one.removed)}</td>"
        f"<td><code>{esc(one.digest)}</code></td></tr>"
        for one in receipts
    )
    head = "<tr><th>Receipt</th><th>Document</th><th>Time</th><th>Passages</th><th>Digest</th></tr>"
    return (
        f'<details class="why" id="receipts"><summary>Receipts of deletions ({len(receipts)})</summary>'
        f'<div class="scroll"><table class="documents">{head}{rows}</table></div></details>'
    )


def deleted(receipt: Receipt) -> str:
    """What a person keeps of a deletion."""
    rows = (
        ("Document", receipt.document),
        ("Passages", str(len(receipt.removed))),
        ("Time", receipt.time),
        ("Digest", receipt.digest),
    )
    facts = "".join(f"<dt>{label}</dt><dd>{esc(value)}</dd>" for label, value in rows)
    return (
        f'<div class="card receipt" id="receipt"><b>Deleted. Receipt {receipt.number}</b><dl>{facts}</dl>'
        "<p>Text, vectors and words are gone. <code>assistant index verify</code> checks it at any time.</p></div>"
    )


def preview(draft: Draft) -> str:
    """The passages that a document would be cut into."""
    notes = "".join(notice(esc_note(note), "warn") for note in draft.notes)
    cards = "".join(_passage(passage) for passage in draft.passages[:SHOWN])
    more = len(draft.passages) - SHOWN
    rest = f'<p class="hint">and {more} more</p>' if more > 0 else ""
    count = f"{len(draft.passages)} passage{'' if len(draft.passages) == 1 else 's'}"
    empty = notice("There is no text in it.", "warn")
    return f'<p class="caption">{count}, as they will be searched and quoted</p>{notes}{cards or empty}{rest}'


def _passage(passage: Passage) -> str:
    page = chip(f"page {passage.page}") if passage.page else ""
    return (
        f'<div class="card passage"><div class="chips"><b>{esc(passage.section or passage.title)}</b>{page}</div>'
        f'<p dir="auto">{esc(passage.text)}</p></div>'
    )


def skipped(items: Sequence[Skipped]) -> str:
    """The files that were not read, and why."""
    return "".join(notice(f"{one.file}: {one.reason}", "warn") for one in items)


def replaced(drafts: Sequence[Draft]) -> str:
    """The documents of which another version was there."""
    return "".join(notice(f"{one.file} {one.replacing}.", "done") for one in drafts)


def esc_note(note: str) -> str:
    """A note as a sentence of its own."""
    return f"{note[:1].upper()}{note[1:]}."
