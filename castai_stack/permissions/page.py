"""The report of effective permissions as one self-contained HTML page with one picture; pure."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from castai_stack.permissions.actors import Access, Actor
from castai_stack.permissions.differences import Difference
from castai_stack.permissions.grants import Reach
from castai_stack.permissions.report import (
    HEADINGS,
    difference_lines,
    nothing_beyond,
    reads,
    rows,
    summary,
)

_STYLE = """
:root { color-scheme: light; --ink: #1d2733; --dim: #5b6775; --line: #d5dce4; --ok: #1f7a4d;
  --bad: #b3261e; --near: #8a5a00; --page: #f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 36px 0 6px; }
h3 { font-size: 15px; margin: 18px 0 6px; }
p { margin: 6px 0; }
.dim { color: var(--dim); }
code { font: 12.5px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  background: #eef1f5; border-radius: 3px; padding: 1px 4px; overflow-wrap: anywhere; }
figure { margin: 20px 0 8px; background: #fff; border: 1px solid var(--line); border-radius: 8px;
  padding: 12px; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; min-width: 860px; }
.scroll { overflow-x: auto; }
table { width: 100%; min-width: 820px; border-collapse: collapse; table-layout: fixed;
  background: #fff; border: 1px solid var(--line);
  font-size: 13.5px; }
th, td { text-align: left; vertical-align: top; padding: 7px 10px;
  border-bottom: 1px solid var(--line); }
th { background: #eef1f5; font-weight: 600; }
th:nth-child(1) { width: 12%; } th:nth-child(2) { width: 26%; } th:nth-child(3) { width: 24%; }
th:nth-child(4) { width: 22%; } th:nth-child(5) { width: 16%; }
table.sizes { table-layout: auto; min-width: 0; width: auto; } table.sizes th { width: auto; }
td { overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.cluster h3 { color: var(--ok); } .vpc h3 { color: var(--near); }
.beyond h3 { color: var(--bad); }
.beyond table { border-color: var(--bad); }
.gains { border-left: 4px solid var(--bad); } .loses { border-left: 4px solid var(--ok); }
ul.changes { list-style: none; padding: 0; }
ul.changes li { background: #fff; border: 1px solid var(--line); padding: 6px 10px;
  margin: 0 0 4px; }
ul.changes li.gains { border-left: 4px solid var(--bad); }
ul.changes li.loses { border-left: 4px solid var(--ok); }
"""

_FONT = "system-ui, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
_WIDTH = 1160
_ENTER, _ACTOR, _INSIDE, _BEYOND = 12, 214, 480, 826
_ENTER_WIDTH, _ACTOR_WIDTH, _BOX_WIDTH = 168, 196, 322
_LINE, _GAP, _TOP = 15, 10, 62
_CHARACTER = 6.4
"""Width of a character of the small text, on the wide side."""
_COLOURS: dict[Reach, str] = {"this cluster": "#1f7a4d", "its VPC": "#8a5a00", "beyond": "#b3261e"}


def html(access: Access) -> str:
    """Return the report of one stack as a page."""
    name = access.settings.cluster.name
    return _page(f"Who may do what: {name}", _report(access))


def html_difference(old: Access, new: Access, found: Sequence[Difference]) -> str:
    """Return what changes from one stack to the other as a page."""
    return _page("What changes in permissions", _difference(old, new, found))


def _page(title: str, body: Iterator[str]) -> str:
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style></head>",
            "<body><main>",
            f"<h1>{escape(title)}</h1>",
            *body,
            "</main></body></html>",
            "",
        ]
    )


def _difference(old: Access, new: Access, found: Sequence[Difference]) -> Iterator[str]:
    yield f'<p class="dim">From: {escape(summary(old))}</p>'
    yield f'<p class="dim">To: {escape(summary(new))}</p>'
    if not found:
        yield "<p>Nobody gains or loses anything.</p>"
    for difference in found:
        yield f"<h2>{escape(difference.title)}</h2>"
        yield '<ul class="changes">'
        for kind, text in difference_lines(old, new, difference):
            yield f'<li class="{kind}">{_prose(text)}</li>'
        yield "</ul>"


def _report(access: Access) -> Iterator[str]:
    yield f'<p class="dim">{escape(summary(access))}</p>'
    yield f"<figure>{_picture(access)}</figure>"
    for actor in access.actors:
        yield from _actor(access, actor)
    yield from _sizes(access)
    if access.notes:
        yield "<h2>Worth knowing</h2><ul>"
        yield from (f"<li>{_prose(note)}</li>" for note in access.notes)
        yield "</ul>"


def _actor(access: Access, actor: Actor) -> Iterator[str]:
    yield f"<h2>{escape(actor.title)}</h2>"
    yield f"<p><code>{escape(actor.arn)}</code>, entered by {escape(actor.entered_by)}.</p>"
    yield f"<p>AWS-managed policies: {escape(', '.join(actor.managed))}.</p>"
    if actor.limits:
        limits = escape("; ".join(actor.limits))
        yield f"<p>Limited by {limits}. What follows is what the limit leaves.</p>"
    for reach, heading in HEADINGS.items():
        yield from _table(access, actor, reach, heading)
    if nothing := nothing_beyond(actor):
        yield f"<p>{escape(nothing)}</p>"
    yield f'<p class="dim">Reads: {escape(reads(actor))}.</p>'


def _table(access: Access, actor: Actor, reach: Reach, heading: str) -> Iterator[str]:
    found = [grant for grant in actor.grants if grant.reach == reach]
    if not found:
        return
    css = {"this cluster": "cluster", "its VPC": "vpc"}.get(reach, "beyond")
    yield f'<section class="{css}"><h3>{escape(heading)}</h3><div class="scroll"><table>'
    yield "<tr><th>what</th><th>may</th><th>on</th><th>if</th><th>by</th></tr>"
    for row in rows(access, found):
        cells = (
            escape(row.topic),
            escape(", ".join(action.partition(":")[2] for action in row.actions)),
            "<br>".join(f"<code>{escape(resource)}</code>" for resource in row.resources),
            _prose(row.condition),
            escape(", ".join(row.sources)),
        )
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table></div></section>"


def _sizes(access: Access) -> Iterator[str]:
    if not access.documents:
        return
    yield '<h2>Sizes</h2><div class="scroll"><table class="sizes">'
    yield "<tr><th>document</th><th>kind</th><th>characters</th><th>IAM allows</th></tr>"
    for document in access.documents:
        yield (
            f"<tr><td>{escape(document.name)}</td><td>{escape(document.kind)}</td>"
            f'<td class="number">{document.characters}</td>'
            f'<td class="number">{document.quota}</td></tr>'
        )
    yield "</table></div>"
    yield from (f"<p><b>Too large:</b> {_prose(problem)}</p>" for problem in access.problems)


def _prose(text: str) -> str:
    """Escape a sentence and set what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text, quote=False))


# --- the picture --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Box:
    """A titled box: somebody, or what somebody may change of one kind of thing."""

    title: str
    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()
    colour: str = "#1d2733"

    @property
    def height(self) -> int:
        rows_ = len(self.lines) + len(self.notes) + (1 if self.title else 0)
        return 13 + _LINE * rows_


@dataclass(frozen=True, slots=True)
class _Band:
    """One actor and its boxes."""

    actor: Actor
    inside: tuple[_Box, ...]
    beyond: tuple[_Box, ...]

    @property
    def height(self) -> int:
        return max(_stack(self.inside), _stack(self.beyond), _stack((_who(self.actor),)), 60)


def _picture(access: Access) -> str:
    bands = [
        _Band(
            actor,
            _boxes(access, actor, "this cluster"),
            (*_boxes(access, actor, "its VPC"), *_boxes(access, actor, "beyond")),
        )
        for actor in access.actors
    ]
    total = _TOP + sum(band.height + 26 for band in bands) + (0 if bands else 40)
    cluster = access.settings.cluster
    account_wide = any("beyond" in {g.reach for g in band.actor.grants} for band in bands)
    beyond = _COLOURS["beyond"] if account_wide else "#76828f"
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {total}" role="img" font-family="{_FONT}">',
        f"<title>Who may change what: {escape(cluster.name)}</title>",
        _zone(_INSIDE, total, _COLOURS["this cluster"], f"Cluster {_cut(cluster.name, 25)}"),
        _zone(_BEYOND, total, beyond, f"Beyond it, in account {cluster.account_id}"),
        _heading(_ENTER, "Who comes in"),
        _heading(_ACTOR, "as whom"),
    ]
    if not bands:
        parts.append(_text(_INSIDE + 6, _TOP + 12, "Nobody has access to AWS.", "#5b6775"))
    y = _TOP
    for band in bands:
        parts += _band(band, y)
        y += band.height + 26
    return "\n".join([*parts, "</svg>"])


def _zone(x: int, total: int, colour: str, title: str) -> str:
    return (
        f'<rect x="{x - 12}" y="8" width="{_BOX_WIDTH + 20}" height="{total - 16}" rx="8" '
        f'fill="{colour}" fill-opacity="0.05" stroke="{colour}" stroke-dasharray="5 4"/>'
        f'<text x="{x}" y="34" font-size="15" font-weight="600" fill="{colour}">'
        f"{escape(title)}</text>"
    )


def _heading(x: int, text: str) -> str:
    style = 'font-size="15" font-weight="600" fill="#1d2733"'
    return f'<text x="{x}" y="34" {style}>{escape(text)}</text>'


def _band(band: _Band, y: int) -> Iterator[str]:
    who, enter = _who(band.actor), _enter(band.actor)
    middle = y + band.height // 2
    yield _arrow((_ENTER + _ENTER_WIDTH, middle), (_ACTOR, middle), "#5b6775")
    placed = [
        (box, x, at)
        for boxes, x in ((band.inside, _INSIDE), (band.beyond, _BEYOND))
        for box, at in _placed(boxes, y, band.height)
    ]
    for box, x, at in placed:
        yield _arrow((_ACTOR + _ACTOR_WIDTH, middle), (x, at + box.height // 2), box.colour)
    for box, x, at in placed:
        yield from _drawn(box, x, at, _BOX_WIDTH - 4)
    yield from _drawn(enter, _ENTER, middle - enter.height // 2, _ENTER_WIDTH)
    yield from _drawn(who, _ACTOR, middle - who.height // 2, _ACTOR_WIDTH)
    if not band.beyond:
        yield _text(_BEYOND, middle + 4, f"{band.actor.title}: changes nothing here", "#5b6775")


def _placed(boxes: Sequence[_Box], y: int, height: int) -> Iterator[tuple[_Box, int]]:
    at = y + (height - _stack(boxes)) // 2
    for box in boxes:
        yield box, at
        at += box.height + _GAP


def _arrow(start: tuple[int, int], end: tuple[int, int], colour: str) -> str:
    (x1, y1), (x2, y2) = start, end
    # Bends before the first boxes, so that an arrow to the last column passes between them.
    bend = min((x2 - x1) // 2, 60)
    return (
        f'<path d="M{x1} {y1} C{x1 + bend} {y1} {x1 + 8} {y2} {x1 + bend} {y2} L{x2 - 7} {y2}" '
        f'fill="none" stroke="{colour}" stroke-width="1.3" opacity="0.7"/>'
        f'<path d="M{x2 - 8} {y2 - 4} L{x2} {y2} L{x2 - 8} {y2 + 4} Z" fill="{colour}"/>'
    )


def _drawn(box: _Box, x: int, y: int, width: int) -> Iterator[str]:
    yield (
        f'<rect x="{x}" y="{y}" width="{width}" height="{box.height}" rx="6" fill="#fff" '
        f'stroke="{box.colour}"/>'
    )
    at = y + 18
    if box.title:
        yield (
            f'<text x="{x + 10}" y="{at}" font-size="13" font-weight="600" fill="{box.colour}">'
            f"{escape(box.title)}</text>"
        )
        at += _LINE
    for colour, lines in (("#1d2733", box.lines), ("#5b6775", box.notes)):
        for line in lines:
            yield _text(x + 10, at, line, colour)
            at += _LINE


def _text(x: int, y: int, text: str, colour: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="11.5" fill="{colour}">{escape(text)}</text>'


def _stack(boxes: Sequence[_Box]) -> int:
    return sum(box.height + _GAP for box in boxes) - _GAP if boxes else 0


def _who(actor: Actor) -> _Box:
    kind, _, name = actor.arn.split(":", 5)[5].rpartition("/")
    limited = ("limited by a boundary",) if actor.limits else ()
    lines = _wrapped([f"{kind.partition('/')[0]} {name}"], _ACTOR_WIDTH)
    return _Box(actor.title, lines, limited)


def _enter(actor: Actor) -> _Box:
    return _Box("", _wrapped([actor.entered_by], _ENTER_WIDTH), colour="#5b6775")


def _wrapped(texts: Sequence[str], width: int) -> tuple[str, ...]:
    characters = int((width - 20) / _CHARACTER)
    return tuple(line for text in texts for line in textwrap.wrap(text, characters))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _boxes(access: Access, actor: Actor, reach: Reach) -> tuple[_Box, ...]:
    topics: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for row in rows(access, [grant for grant in actor.grants if grant.reach == reach]):
        verbs, things = topics.setdefault(row.topic, ({}, {}))
        names = (action.partition(":")[2] for action in row.actions)
        verbs.update(dict.fromkeys("everything" if name == "*" else name for name in names))
        things.update(dict.fromkeys(row.where))
    return tuple(
        _Box(
            title,
            _wrapped([", ".join(verbs)], _BOX_WIDTH),
            _wrapped([f"on {', '.join(things)}"], _BOX_WIDTH),
            _COLOURS[reach],
        )
        for title, (verbs, things) in topics.items()
    )
