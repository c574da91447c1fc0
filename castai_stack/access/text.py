"""Edit the text of one list of aws-auth.

Entries of others keep their text, byte for byte: only the lines (or, inside brackets, the
characters) of our own entry are added, replaced or cut out. The result of an edit is parsed again
and compared; where the text allows no such edit, the list is rewritten, every entry whole and in
its order.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

from castai_stack.access.entries import (
    KEYS,
    LIMIT,
    WHERE,
    AwsAuthError,
    Entry,
    Item,
    Listing,
)
from castai_stack.access.reader import BOM, Loader, parse

_DEEPEST = 50
"""Depth up to which lists are compared and rewritten, because both recurse."""
# Plain scalars that no YAML version reads as anything but text.
_PLAIN = re.compile(r"[A-Za-z](?:[\w./@+=,{}:-]*[\w./@+=,{}-])?", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_COMMA = re.compile(r"\s*,")


@dataclass(frozen=True)
class Change:
    """A list after an edit: its text, and the items that the text has to hold."""

    text: str
    listing: Listing
    """The list before."""
    parts: tuple[Item | dict[str, Any], ...]
    """Items that stay, and our item where it is new, in order."""

    @property
    def values(self) -> list[Any]:
        """Values of the items that the text has to hold."""
        return [part.value if isinstance(part, Item) else part for part in self.parts]


@dataclass(frozen=True)
class _Edit:
    """Items to cut out by index, and our item to write."""

    cut: frozenset[int]
    item: dict[str, Any] | None = None
    place: Item | None = None
    """The item that the new entry replaces; None appends it."""

    def parts(self, listing: Listing) -> tuple[Item | dict[str, Any], ...]:
        """Items of the list after the edit."""
        place = self.place.index if self.place else None
        parts = [
            self.item if self.item and item.index == place else item
            for item in listing.items
            if item.index not in self.cut
        ]
        appended = [self.item] if self.item and place is None else []
        return (*parts, *appended)


def merged(listing: Listing, entry: Entry) -> Change:
    """Return the list with `entry` in it exactly once; the same text when nothing is to change."""
    own = listing.of(entry.arn)
    current = next((item for item in reversed(own) if entry.is_met_by(item)), None)
    if current is not None and len(own) == 1:
        return Change(listing.text, listing, listing.items)
    place = current or (own[0] if own else None)
    cut = frozenset(item.index for item in own if item is not place)
    if current is not None:
        return _change(listing, _Edit(cut))
    return _change(listing, _Edit(cut, entry.as_item(), place))


def removed(listing: Listing, arn: str) -> Change:
    """Return the list without every item that maps `arn`; the same text when there is none."""
    own = listing.of(arn)
    if not own:
        return Change(listing.text, listing, listing.items)
    return _change(listing, _Edit(frozenset(item.index for item in own)))


def proved(change: Change) -> Listing:
    """Parse the text of an edit; rewrite the list if the text has other items than expected."""
    kind, text = change.listing.kind, change.text
    if text is change.listing.text:
        return change.listing
    try:
        # The size of the outcome is judged by a guard.
        after = parse(kind, text, limit=2 * LIMIT)
    except AwsAuthError:
        after = None
    if after is None or [item.value for item in after.items] != change.values:
        after = parse(kind, _written(change.listing, change.parts), limit=2 * LIMIT)
    if [item.value for item in after.items] != change.values:
        raise _refused(change.listing, "cannot be changed without a change to entries of others")
    return after


def _change(listing: Listing, edit: _Edit) -> Change:
    if listing.depth > _DEEPEST:
        raise _refused(listing, f"is nested deeper than the {_DEEPEST} levels that are edited here")
    parts = edit.parts(listing)
    try:
        text = _edited(listing, edit)
    except _CannotEditError:
        text = _written(listing, parts)
    return Change(text, listing, parts)


def _refused(listing: Listing, reason: str) -> AwsAuthError:
    return AwsAuthError(
        f"{WHERE}: {KEYS[listing.kind]} {reason}; add or remove the program's entry by hand"
    )


# --- text -----------------------------------------------------------------------------------------


class _CannotEditError(Exception):
    """The layout of this text is beyond an edit by lines."""


_Replacement = tuple[int, int, str]
"""Start, end and new text."""


def _edited(listing: Listing, edit: _Edit) -> str:
    """Remove items, and write the new entry in its place or at the end."""
    if listing.form == "empty":
        return _first(listing, edit.item) if edit.item else listing.text
    replacements = _Flow(listing) if listing.form == "flow" else _Block(listing)
    text = listing.text
    for start, end, new in sorted(replacements.of(edit), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _first(listing: Listing, item: dict[str, Any]) -> str:
    """Write the first entry of an empty list; comments stay."""
    start, end = listing.span
    before, after = listing.text[:start], listing.text[end:]
    newline = _newline(listing.text)
    if before and not before.endswith("\n"):
        before += newline
    return before + newline.join(_block(item, "")) + newline + after.lstrip("\r\n")


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


class _Block:
    """Replacements in a list of lines that begin with dashes."""

    def __init__(self, listing: Listing) -> None:
        self._text = listing.text
        self._items = listing.items
        self._start = listing.span[0]
        self._newline = _newline(listing.text)

    def of(self, edit: _Edit) -> Iterator[_Replacement]:
        for index in edit.cut:
            yield self._cut(index)
        if edit.item and edit.place:
            yield self._replaced(edit.place.index, edit.item)
        elif edit.item:
            yield self._appended(edit.item)

    def _cut(self, index: int) -> _Replacement:
        start, _, end = self._lines(index)
        if end == len(self._text) and not self._text.endswith("\n") and start:
            before = self._text[:start]
            start -= len(self._newline) if before.endswith(self._newline) else 1
        return start, end, ""

    def _replaced(self, index: int, item: dict[str, Any]) -> _Replacement:
        start, dash, end = self._lines(index)
        ending = self._newline if self._text[:end].endswith("\n") else ""
        return start, end, self._written(item, self._text[start:dash]) + ending

    def _appended(self, item: dict[str, Any]) -> _Replacement:
        start, dash, _ = self._lines(0)
        block = self._written(item, self._text[start:dash])
        last = _end_of_line(self._text, self._items[-1].end)
        at = len(self._text) if _only_comments(self._text[last:]) else last
        if self._text[:at].endswith("\n"):
            return at, at, block + self._newline
        return at, at, self._newline + block

    def _written(self, item: dict[str, Any], indent: str) -> str:
        return self._newline.join(_block(item, indent))

    def _lines(self, index: int) -> tuple[int, int, int]:
        """Start of the item's first line, its dash, and the end of its last line."""
        item = self._items[index]
        left = self._items[index - 1].end if index else self._start
        dash = _dash(self._text, left, item.start)
        origin = len(BOM) if self._text.startswith(BOM) else 0
        start = max(self._text.rfind("\n", 0, dash) + 1, origin)
        if self._text[start:dash].strip(" "):
            raise _CannotEditError
        return start, dash, _end_of_line(self._text, item.end)


class _Flow:
    """Replacements in a list in brackets, JSON among them."""

    def __init__(self, listing: Listing) -> None:
        self._text = listing.text
        self._items = listing.items
        self._inside = listing.span[0] + 1
        self._compact = '":' in listing.text and '": ' not in listing.text

    def of(self, edit: _Edit) -> Iterator[_Replacement]:
        for first, last in _runs(edit.cut):
            yield self._cut(first, last)
        if edit.item and edit.place:
            yield edit.place.start, edit.place.end, self._written(edit.item)
        elif edit.item:
            yield self._appended(edit.item)

    def _cut(self, first: int, last: int) -> _Replacement:
        items = self._items
        if first:
            return items[first - 1].end, items[last].end, ""
        if last + 1 < len(items):
            return items[first].start, items[last + 1].start, ""
        match = _COMMA.match(self._text, items[-1].end)
        return items[first].start, match.end() if match else items[-1].end, ""

    def _appended(self, item: dict[str, Any]) -> _Replacement:
        items, written = self._items, self._written(item)
        if not items:
            return self._inside, self._inside, written
        left = items[-2].end if len(items) > 1 else self._inside
        between = self._text[left : items[-1].start].lstrip(",")
        space = between if not between.strip() else " "
        if not space and not self._compact:
            space = " "
        return items[-1].end, items[-1].end, f",{space}{written}"

    def _written(self, item: dict[str, Any]) -> str:
        separators = (",", ":") if self._compact else (", ", ": ")
        return json.dumps(item, separators=separators, ensure_ascii=False)


def _runs(cut: frozenset[int]) -> Iterator[tuple[int, int]]:
    """First and last index of each run, so that the commas around a run are counted once."""
    for first in sorted(index for index in cut if index - 1 not in cut):
        last = first
        while last + 1 in cut:
            last += 1
        yield first, last


def _dash(text: str, left: int, right: int) -> int:
    """Find the dash of a block item between the end of what is before it and its own start."""
    at = left
    while at < right:
        if text[at] == "-":
            return at
        if text[at] == "#":
            end = text.find("\n", at)
            at = right if end < 0 else end
        elif text[at] not in " \t\r\n":
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


def _block(item: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in item.items():
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


def _written(listing: Listing, parts: tuple[Item | dict[str, Any], ...]) -> str:
    """Rewrite a list, each scalar quoted as before."""
    if not listing.alone:
        raise _refused(listing, "is followed by text that the authenticator does not read")
    nodes: list[yaml.Node] = []
    if listing.items:
        nodes = cast("yaml.SequenceNode", yaml.compose(listing.text, Loader=Loader)).value
    written = yaml.SequenceNode(
        "tag:yaml.org,2002:seq",
        [nodes[part.index] if isinstance(part, Item) else _node(part) for part in parts],
        flow_style=not parts,
    )
    return cast(
        "str",
        yaml.serialize(written, Dumper=yaml.CSafeDumper, allow_unicode=True, width=1_000_000),
    )


def _node(item: Mapping[str, Any]) -> yaml.Node:
    block = "\n".join(_block(item, ""))
    return cast("yaml.SequenceNode", yaml.compose(block, Loader=Loader)).value[0]
