"""Read and edit the text of aws-auth.

An edit keeps every foreign byte; reading the result again proves it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import yaml
from yaml.resolver import Resolver

from castai_stack.access.entries import (
    ARN_FIELDS,
    KEYS,
    LIMIT,
    WHERE,
    AwsAuthError,
    Entry,
    Item,
    Kind,
    Listing,
    UnreadableError,
)

# What the authenticator skips, besides YAML's own spellings of nothing (isSkippable in ParseMap).
_EMPTY = frozenset({"", "``", '""', "''"})
_NULL = "tag:yaml.org,2002:null"
_STR = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_DEEPEST = 50
_MOST_NODES = 2_000_000
_BOM = "\ufeff"
# Plain scalars that no YAML version reads as anything but text.
_PLAIN = re.compile(r"[A-Za-z](?:[\w./@+=,{}:-]*[\w./@+=,{}-])?", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


@dataclass(frozen=True)
class Change:
    """A list after an edit: the text, and what it has to say."""

    text: str
    listing: Listing
    """The list before."""
    parts: tuple[Item | dict[str, Any], ...]
    """What stays, and ours when it is new, in order."""

    @property
    def values(self) -> list[Any]:
        """What the list has to say."""
        return [part.value if isinstance(part, Item) else part for part in self.parts]


def parse(kind: Kind, text: str | None, *, lenient: bool = False, limit: int = LIMIT) -> Listing:
    """Read one list as the authenticator does: YAML or JSON, in every spelling of nothing.

    Raises UnreadableError for what it cannot read; `lenient` keeps items that are no mappings.
    """
    text = text or ""
    if text.strip() in _EMPTY:
        return Listing(kind, text, (), "empty", (0, len(text)))
    shift = len(_BOM) if text.startswith(_BOM) else 0
    root = _Reader(kind, limit).read(text[shift:])
    if root is None:
        return Listing(kind, text, (), "empty", (len(text), len(text)))
    span = (root.start + shift, root.end + shift)
    if not isinstance(root.value, list):
        if _is_nothing(root.value):
            return Listing(kind, text, (), "empty", span)
        found = "a mapping" if isinstance(root.value, dict) else "plain text"
        raise UnreadableError(f"{WHERE}: {KEYS[kind]} must be a list of mappings, found {found}")
    items = tuple(
        Item(kind, value, start + shift, end + shift, _arn(kind, value))
        for value, (start, end) in zip(root.value, root.spans, strict=True)
    )
    for number, item in enumerate(items, 1):
        if not (lenient or isinstance(item.value, dict)):
            raise UnreadableError(
                f"{WHERE}: {KEYS[kind]} must be a list of mappings, "
                f"and its item {number} is none; correct that item by hand"
            )
    return Listing(kind, text, items, "flow" if root.flow else "block", span)


def _arn(kind: Kind, value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    field_name = ARN_FIELDS[kind]
    found = ""
    # As in `folded`: of two spellings of one key, the later in the order of their characters wins.
    for key in sorted(k for k in value if isinstance(k, str) and k.lower() == field_name):
        found = value[key].lower() if isinstance(value[key], str) else ""
    return found


def merged(listing: Listing, entry: Entry) -> Change:
    """Return the list with `entry` in it exactly once; the same text when it is there as wanted."""
    mine = listing.of(entry.arn)
    kept = next((item for item in reversed(mine) if entry.is_met_by(item)), None)
    if kept is not None and len(mine) == 1:
        return Change(listing.text, listing, listing.items)
    ours = None if kept else entry.as_item()
    place = kept or (mine[0] if mine else None)
    cut = [item for item in mine if item is not place]
    parts = [ours if ours and item is place else item for item in _without(listing, cut)]
    if place is None and ours:
        parts.append(ours)
    try:
        text = _edited(listing, cut, place, ours)
    except _CannotEditError:
        text = _written(listing, parts)
    return Change(text, listing, tuple(parts))


def removed(listing: Listing, arn: str) -> Change:
    """Return the list without every item that maps `arn`; the same text when there is none."""
    mine = listing.of(arn)
    if not mine:
        return Change(listing.text, listing, listing.items)
    parts = _without(listing, mine)
    try:
        text = _edited(listing, mine, None, None)
    except _CannotEditError:
        text = _written(listing, parts)
    return Change(text, listing, tuple(parts))


def proved(change: Change, *, lenient: bool = False) -> Listing:
    """Parse what an edit yields; when it does not say what it has to, write the list anew."""
    kind = change.listing.kind
    try:
        # Whether the outcome is too large is a guard's question, with an answer of its own.
        after = parse(kind, change.text, lenient=lenient, limit=2 * LIMIT)
    except UnreadableError:
        after = None
    if after is None or [item.value for item in after.items] != change.values:
        rewritten = _written(change.listing, change.parts)
        after = parse(kind, rewritten, lenient=lenient, limit=2 * LIMIT)
    if [item.value for item in after.items] != change.values:
        raise AwsAuthError(
            f"{WHERE}: {KEYS[kind]} cannot be changed without changing what others wrote; "
            "add or remove our entry by hand"
        )
    return after


def _without(listing: Listing, cut: Sequence[Item]) -> list[Any]:
    gone = {id(item) for item in cut}
    return [item for item in listing.items if id(item) not in gone]


# --- text ---------------------------------------------------------------------------------------


class _CannotEditError(Exception):
    """The layout of this text is beyond an edit by lines."""


def _edited(
    listing: Listing, cut: Sequence[Item], place: Item | None, ours: dict[str, Any] | None
) -> str:
    """Cut items out, and put ours in `place`, or at the end when there is none."""
    if listing.form == "empty":
        return _first(listing, ours) if ours else listing.text
    edits = _flow_edits if listing.form == "flow" else _block_edits
    text = listing.text
    for start, end, replacement in sorted(edits(listing, cut, place, ours), reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


_Edit = tuple[int, int, str]


def _first(listing: Listing, ours: dict[str, Any]) -> str:
    """Write the first entry where there was none; comments stay."""
    start, end = listing.span
    before, after = listing.text[:start], listing.text[end:]
    newline = "\r\n" if "\r\n" in listing.text else "\n"
    if before and not before.endswith("\n"):
        before += newline
    return before + newline.join(_block(ours, "")) + newline + after.lstrip("\r\n")


def _block_edits(
    listing: Listing, cut: Sequence[Item], place: Item | None, ours: dict[str, Any] | None
) -> Iterator[_Edit]:
    text = listing.text
    newline = "\r\n" if "\r\n" in text else "\n"
    position = {id(item): number for number, item in enumerate(listing.items)}
    origin = len(_BOM) if text.startswith(_BOM) else 0

    def lines(item: Item) -> tuple[int, int, int]:
        number = position[id(item)]
        left = listing.items[number - 1].end if number else listing.span[0]
        dash = _dash(text, left, item.start)
        start = max(text.rfind("\n", 0, dash) + 1, origin)
        end = _end_of_line(text, item.end)
        if text[start:dash].strip(" "):
            raise _CannotEditError
        return start, dash, end

    for item in cut:
        start, _, end = lines(item)
        if end == len(text) and not text.endswith("\n") and start:
            start -= len(newline) if text[:start].endswith(newline) else 1
        yield start, end, ""
    if not ours:
        return
    if place is not None:
        start, dash, end = lines(place)
        ending = newline if text[:end].endswith("\n") else ""
        yield start, end, newline.join(_block(ours, text[start:dash])) + ending
        return
    start, dash, _ = lines(listing.items[0])
    block = newline.join(_block(ours, text[start:dash]))
    last = _end_of_line(text, listing.items[-1].end)
    at = len(text) if _only_comments(text[last:]) else last
    if text[:at].endswith("\n"):
        yield at, at, block + newline
    else:
        yield at, at, newline + block


def _flow_edits(
    listing: Listing, cut: Sequence[Item], place: Item | None, ours: dict[str, Any] | None
) -> Iterator[_Edit]:
    text, items = listing.text, listing.items
    compact = '":' in text and '": ' not in text
    written = (
        json.dumps(ours, separators=(",", ":") if compact else (", ", ": "), ensure_ascii=False)
        if ours
        else ""
    )
    gone = {id(item) for item in cut}
    # A run of items is cut together, so that the commas around it are counted once.
    number = 0
    while number < len(items):
        if id(items[number]) not in gone:
            number += 1
            continue
        first = number
        while number < len(items) and id(items[number]) in gone:
            number += 1
        if first:
            yield items[first - 1].end, items[number - 1].end, ""
        elif number < len(items):
            yield items[first].start, items[number].start, ""
        else:
            yield items[first].start, _after_comma(text, items[-1].end), ""
    if not ours:
        return
    if place is not None:
        yield place.start, place.end, written
    elif items:
        left = items[-2].end if len(items) > 1 else listing.span[0] + 1
        between = text[left : items[-1].start].lstrip(",")
        space = between if not between.strip() else " "
        if not space and not compact:
            space = " "
        yield items[-1].end, items[-1].end, f",{space}{written}"
    else:
        yield listing.span[0] + 1, listing.span[0] + 1, written


def _dash(text: str, left: int, right: int) -> int:
    """Find the dash of a block item between the end of what is before it and its own start."""
    at = left
    while at < right:
        if text[at] == "-":
            return at
        if text[at] == "#":
            end = text.find("\n", at)
            at = right if end < 0 else end
        elif text[at] not in " \r\n":
            raise _CannotEditError
        else:
            at += 1
    raise _CannotEditError


def _end_of_line(text: str, at: int) -> int:
    """Position after the line of the character before `at`; only a comment may follow there."""
    if text[at - 1] == "\n":
        return at
    newline = text.find("\n", at)
    end = len(text) if newline < 0 else newline
    rest = text[at:end].strip()
    if rest and not rest.startswith("#"):
        raise _CannotEditError
    return len(text) if newline < 0 else newline + 1


def _only_comments(text: str) -> bool:
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.split("\n"))


def _after_comma(text: str, at: int) -> int:
    """Position after a trailing comma, if one follows."""
    match = re.compile(r"\s*,").match(text, at)
    return match.end() if match else at


def _block(ours: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in ours.items():
        lead = "  " if lines else "- "
        if isinstance(value, str):
            lines.append(f"{indent}{lead}{name}: {_scalar(value)}")
        elif value:
            lines.append(f"{indent}{lead}{name}:")
            lines += [f"{indent}    - {_scalar(each)}" for each in value]
        else:
            lines.append(f"{indent}{lead}{name}: []")
    return lines


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


def _written(listing: Listing, parts: Sequence[Item | dict[str, Any]]) -> str:
    """Write a list anew, each scalar quoted as it was."""
    nodes: dict[int, yaml.Node] = {}
    if listing.items:
        root = cast("yaml.SequenceNode", yaml.compose(listing.text, Loader=_Loader))
        nodes = {id(item): node for item, node in zip(listing.items, root.value, strict=True)}
    written = yaml.SequenceNode(
        "tag:yaml.org,2002:seq",
        [nodes[id(part)] if isinstance(part, Item) else _node(part) for part in parts],
        flow_style=not parts,
    )
    return cast(
        "str",
        yaml.serialize(written, Dumper=yaml.CSafeDumper, allow_unicode=True, width=1_000_000),
    )


def _node(ours: Mapping[str, Any]) -> yaml.Node:
    block = "\n".join(_block(ours, ""))
    return cast("yaml.SequenceNode", yaml.compose(block, Loader=_Loader)).value[0]


# --- reading ------------------------------------------------------------------------------------


class _Loader(yaml.CSafeLoader):
    """PyYAML's C loader; a class of its own so that nobody's constructors reach it."""


_RESOLVER = Resolver()


@lru_cache(maxsize=4096)
def _plain_tag(text: str) -> str:
    """Tag of an unquoted scalar."""
    return cast("str", _RESOLVER.resolve(yaml.ScalarNode, text, (True, False)))


def _is_nothing(value: Any) -> bool:
    if isinstance(value, tuple):
        return value[0] == _NULL
    return isinstance(value, str) and value in _EMPTY


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    start: int
    end: int
    """After the last character of its content; a block collection claims what follows, too."""
    flow: bool
    mapping: bool
    anchor: str | None
    counted: int
    values: list[Any] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


@dataclass(slots=True)
class _Root:
    value: Any
    start: int
    end: int
    flow: bool
    spans: list[tuple[int, int]]


class _Reader:
    """Builds comparable values and the places of the list's items from PyYAML's events.

    Text is text; every other scalar is its tag and its text, so that nothing changes by being read.
    """

    def __init__(self, kind: Kind, limit: int) -> None:
        self._limit = limit
        self._where = f"{WHERE}: {KEYS[kind]}"
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._stack: list[_Open] = []
        self._count = 0
        self._root: _Root | None = None

    def read(self, text: str) -> _Root | None:
        if len(text.encode(errors="replace")) > self._limit:
            raise UnreadableError(
                f"{self._where} is larger than a ConfigMap can be ({self._limit} bytes)"
            )
        try:
            for event in yaml.parse(text, Loader=_Loader):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise UnreadableError(
                f"{self._where} is neither YAML nor JSON{at}: {error.problem}"
            ) from None
        except (yaml.YAMLError, UnicodeError) as error:
            raise UnreadableError(
                f"{self._where} is neither YAML nor JSON ({type(error).__name__})"
            ) from None
        return self._root

    def _take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                tag = event.tag
                if tag is None or tag == "!":
                    tag = _plain_tag(event.value) if event.implicit[0] else _STR
                value = event.value if tag == _STR else (tag, event.value)
                self._add(value, _span(event), event.anchor, 1)
            case yaml.CollectionStartEvent():
                self._start(event)
            case yaml.CollectionEndEvent():
                done = self._stack.pop()
                if done.flow:
                    done.end = event.end_mark.index
                value = self._mapping(done.values) if done.mapping else done.values
                size = self._count - done.counted + 1
                self._add(value, (done.start, done.end), done.anchor, size, done)
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise UnreadableError(f"{self._where} names an alias without a complete anchor")
                value, size = self._anchors[event.anchor]
                self._count += size - 1
                self._add(value, _span(event), None, size)
            case yaml.DocumentStartEvent() if self._root:
                raise UnreadableError(f"{self._where} holds more than one YAML document")

    def _start(self, event: Any) -> None:
        if len(self._stack) >= _DEEPEST:
            raise UnreadableError(f"{self._where} is nested deeper than {_DEEPEST} levels")
        mapping = isinstance(event, yaml.MappingStartEvent)
        start, end = _span(event)
        self._stack.append(
            _Open(start, end, bool(event.flow_style), mapping, event.anchor, self._count)
        )
        if event.anchor:
            self._anchors.pop(event.anchor, None)

    def _add(
        self,
        value: Any,
        span: tuple[int, int],
        anchor: str | None,
        size: int,
        done: _Open | None = None,
    ) -> None:
        self._count += 1
        if self._count > _MOST_NODES:
            raise UnreadableError(f"{self._where} repeats itself too often through its aliases")
        if anchor:
            self._anchors[anchor] = (value, size)
        if not self._stack:
            flow = bool(done and done.flow)
            self._root = _Root(value, *span, flow, done.spans if done else [])
            return
        parent = self._stack[-1]
        parent.values.append(value)
        parent.end = span[1]
        if len(self._stack) == 1:
            parent.spans.append(span)

    @staticmethod
    def _mapping(values: list[Any]) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        inherited: dict[Any, Any] = {}
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(key, tuple) and key[0] == _MERGE:
                bases = value if isinstance(value, list) else [value]
                for base in reversed(bases):
                    inherited.update(base if isinstance(base, dict) else {})
            else:
                own[key if isinstance(key, str | tuple) else repr(key)] = value
        return {**inherited, **own}
