"""What of a finished turn somebody may see, and what of it still stands: nothing of a group they are not in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from assistant.record import Citation, Stale, Turn
from retrieval.passage import Passage

HIDDEN = "This answer rests on documents that you may not read."
Now = Mapping[str, Passage] | None  # passages by id as they are now; None: nobody looked
Standing = Callable[[str, Collection[str]], Now]  # by domain and ids


def unchecked(_domain: str, _ids: Collection[str]) -> Now:
    """A standing for when there are no documents to look at."""
    return None


def shown(turn: Turn, groups: Collection[str], standing: Standing = unchecked) -> Turn:
    """The turn as a member of ``groups`` may see it, with what no longer stands marked; the same when all is well.

    A passage that has moved to another group since is shown to who may read it as it is now; if its text has changed
    as well, one must be of both groups.
    """
    readable = {"", *groups}
    now = _now(turn, standing)
    needed = [_of(hit.passage, now(turn.reading.domain or "", hit.passage.id)) for hit in turn.hits]
    hits = tuple(hit for hit, groups_of in zip(turn.hits, needed, strict=True) if groups_of <= readable)
    found = [(one, now(one.domain, one.passage_id)) for one in turn.citations]
    rests_on = {*turn.rests_on}.union(*(_of(one, passage) for one, passage in found))
    if turn.author == "human":  # a person's own words cite nothing, and were written with all that was found in view
        rests_on = rests_on.union(*needed)
    if not rests_on <= readable:
        return replace(
            turn, answer=HIDDEN, sentences=(HIDDEN,), citations=(), hits=hits, dropped=(), findings=(), reasons=(),
            explanations=(), facts=(), author="policy", rests_on=(),
        )  # fmt: skip
    citations = tuple(_marked(one, passage) for one, passage in found)
    seen = turn if citations == turn.citations else replace(turn, citations=citations)
    return (
        seen if len(hits) == len(turn.hits) else replace(seen, hits=hits, dropped=(), findings=(), reasons=(), facts=())
    )


def restricted(turn: Turn) -> tuple[str, ...]:
    """The groups whose documents led to a turn: who is not of all of them may not see what was made of it."""
    groups = {hit.passage.access for hit in turn.hits} | {one.access for one in turn.citations} | {*turn.rests_on}
    return tuple(sorted(groups - {""}))


def stale(citation: Citation, standing: Standing) -> Stale:
    """How a citation stands now."""
    return _marked(citation, _look(standing(citation.domain, (citation.passage_id,)), citation.passage_id)).stale


_Found = Passage | None | bool  # the passage as it is now; None: it is gone; False: nobody looked


def _now(turn: Turn, standing: Standing) -> Callable[[str, str], _Found]:
    """Looks all passages of a turn up at once."""
    wanted: dict[str, set[str]] = {}
    for one in turn.citations:
        wanted.setdefault(one.domain, set()).add(one.passage_id)
    for hit in turn.hits:
        wanted.setdefault(turn.reading.domain or "", set()).add(hit.passage.id)
    known = {domain: standing(domain, ids) if domain else None for domain, ids in wanted.items()}
    return lambda domain, name: _look(known[domain], name)


def _look(now: Now, name: str) -> _Found:
    return False if now is None else now.get(name)


def _of(then: Citation | Passage, now: _Found) -> set[str]:
    """The groups that one has to be of to see what was quoted."""
    if not isinstance(now, Passage):
        return {then.access}
    return {now.access} if now.sha256 == then.sha256 else {now.access, then.access}


def _marked(citation: Citation, now: _Found) -> Citation:
    if now is False:
        return citation
    if isinstance(now, Passage):
        return citation if now.sha256 == citation.sha256 else replace(citation, stale="changed")
    return replace(citation, stale="gone")
