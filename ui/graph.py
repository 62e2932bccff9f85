"""The knowledge graph as a picture: SVG in columns, from the entity in the middle of interest outwards. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ui.render import esc, notice

if TYPE_CHECKING:
    from assistant.graph import Node, Picture
    from assistant.record import Related

WIDTH, BOX, ROW, LINE = 340, 210, 58, 15  # pixels: of a column, of a box in it, from row to row, of a line of text


def drawn(picture: Picture, entity: str) -> str:
    """The facts around an entity; hovering over a line names the article that it is from."""
    if not picture.nodes:
        return notice(f"No fact names “{entity}”." if entity else "This domain has no facts.", "empty")
    columns = 1 + max(node.column for node in picture.nodes)
    height = ROW * max(node.others for node in picture.nodes) + 20
    places = [_place(node, height) for node in picture.nodes]
    lines = "".join(_edge(places[a], places[b], fact) for a, b, fact in picture.edges)
    boxes = "".join(_box(node, *place) for node, place in zip(picture.nodes, places, strict=True))
    size = f'width="{columns * WIDTH}" height="{height}" viewBox="0 0 {columns * WIDTH} {height}"'
    label = f"Facts around {picture.nodes[0].label}"
    return (
        f'<div class="scroll"><svg class="graph" {size} role="img" aria-label="{esc(label)}">{lines}{boxes}</svg></div>'
    )


def _place(node: Node, height: int) -> tuple[float, float]:
    """The middle of a node's left edge."""
    return node.column * WIDTH + 4.0, height * (node.place + 0.5) / node.others


def _edge(start: tuple[float, float], end: tuple[float, float], fact: Related) -> str:
    (ax, ay), (bx, by) = start, end
    forward = bx > ax
    x1, x2 = (ax + BOX, bx) if forward else (ax, bx + BOX) if bx < ax else (ax + BOX, bx + BOX)
    middle = f'x="{(x1 + x2) / 2:.0f}" y="{(ay + by) / 2 - 4:.0f}"'
    said = f"{fact.subject} {fact.predicate} {fact.object} ({fact.title})"
    return (
        f'<g class="edge"><title>{esc(said)}</title><line x1="{x1:.0f}" y1="{ay:.0f}" x2="{x2:.0f}" y2="{by:.0f}"/>'
        f'<text {middle} text-anchor="middle">{esc(textwrap.shorten(fact.predicate, 24, placeholder="…"))}</text></g>'
    )


def _box(node: Node, x: float, y: float) -> str:
    wrapped = textwrap.wrap(node.label, 32, max_lines=2, placeholder=" …")
    tall = LINE * len(wrapped) + 12
    text = "".join(
        f'<text x="{x + 9:.0f}" y="{y - tall / 2 + 17 + LINE * number:.0f}">{esc(line)}</text>'
        for number, line in enumerate(wrapped)
    )
    kind = "node middle" if node.column == 0 else "node"
    return (
        f'<g class="{kind}"><title>{esc(node.label)}</title>'
        f'<rect x="{x:.0f}" y="{y - tall / 2:.0f}" width="{BOX}" height="{tall}" rx="7"/>{text}</g>'
    )
