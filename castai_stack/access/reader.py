"""Read one list of aws-auth as the authenticator does.

The authenticator turns the first YAML document of the value into JSON and decodes that into its
mappings. A list that fails on the way has no mapping, even if other items are valid.

`scalars` resolves single values, `mappings` decodes the items.

Sources: kubernetes-sigs/aws-iam-authenticator, pkg/mapper/configmap/configmap.go (ParseMap);
yaml/go-yaml v2, decode.go and scannerc.go.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from castai_stack.access.entries import (
    KEYS,
    LIMIT,
    WHERE,
    AwsAuthError,
    Item,
    Kind,
    Listing,
    UnreadableError,
)
from castai_stack.access.mappings import decoded
from castai_stack.access.scalars import (
    CORE,
    FLOAT,
    MERGE,
    STR,
    Scalar,
    fits_json,
    is_finite,
    is_json_key,
    is_merge,
    is_null,
    plain_tag,
    tagged,
    text_of,
)

BOM = "\ufeff"
_EMPTY = frozenset({"", "``", '""', "''"})
# strings.TrimSpace; str.strip() takes four control characters more.
_GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))
_GO_SPACE += "\u2028\u2029\u202f\u205f\u3000"
_DEEPEST = 10_000
"""Levels that encoding/json decodes, and that go-yaml's scanner opens."""
_SLASH = re.compile(r"(?<!\\)(?:\\\\)*\\/")
_BAD_TAG = {"did not find expected whitespace or line break", "did not find expected tag URI"}
_NO_MERGE = "`<<` needs a mapping, or a list of mappings, as its value"
_RATIO_FROM, _RATIO_TO = 400_000, 4_000_000


class Loader(yaml.CSafeLoader):
    """PyYAML's C loader; a class of its own, free of constructors that others register."""


def parse(kind: Kind, text: str | None, *, limit: int = LIMIT) -> Listing:
    """Read a list: YAML or JSON, in every spelling of nothing.

    Raises UnreadableError, with the line, for a list of which the authenticator reads nothing, and
    AwsAuthError for the few spellings that PyYAML does not read as the authenticator does.
    """
    text = text or ""
    if text.strip(_GO_SPACE) in _EMPTY:
        return Listing(kind, text, (), "empty", (0, len(text)))
    shift = len(BOM) if text.startswith(BOM) else 0
    reader = _Reader(kind, limit)
    root = reader.read(text[shift:])
    if root is None:
        return Listing(kind, text, (), "empty", (len(text), len(text)), reader.depth, reader.alone)
    span = (root.start + shift, root.end + shift)
    if not isinstance(root.value, list):
        if is_null(root.value):
            return Listing(kind, text, (), "empty", span, reader.depth, reader.alone)
        shape = "a mapping" if isinstance(root.value, dict) else "plain text"
        raise UnreadableError(f"{WHERE}: {KEYS[kind]} must be a list of mappings, found {shape}")
    items = tuple(
        Item(kind, index, value, start + shift, end + shift, *decoded(kind, value))
        for index, (value, (start, end)) in enumerate(zip(root.value, root.spans, strict=True))
    )
    form = "flow" if root.flow else "block"
    return Listing(kind, text, items, form, span, reader.depth, reader.alone)


@dataclass(slots=True)
class _Open:
    """A collection whose end is not reached yet."""

    start: int
    end: int
    """Position after the last character of its content, without the space that follows a block."""
    line: int
    flow: bool
    mapping: bool
    anchor: "_Anchor | None"
    counted: int
    values: list[Any] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Anchor:
    """Value of an anchor; incomplete while its collection is open."""

    value: Any = None
    size: int = 0
    complete: bool = False


@dataclass(slots=True)
class _Root:
    value: Any
    start: int
    end: int
    flow: bool
    spans: list[tuple[int, int]]


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


class _Reader:
    """Builds values and the positions of the list's items from PyYAML's events.

    A text is a `str`. Every other scalar is its tag and its text, so that no spelling is lost.
    """

    def __init__(self, kind: Kind, limit: int) -> None:
        self.depth = 0
        self.alone = True
        """Nothing follows the first document."""
        self._limit = limit
        self._text = ""
        self._where = f"{WHERE}: {KEYS[kind]}"
        self._anchors: dict[str, _Anchor] = {}
        self._stack: list[_Open] = []
        self._count = 1
        self._by_alias = 0
        self._unfit: list[int] = []
        """Lines of values and keys that JSON does not have, unless a later key replaces them."""
        self._root: _Root | None = None

    def read(self, text: str) -> _Root | None:
        """Return the first document of a text, None if it has none."""
        if len(text.encode(errors="replace")) > self._limit:
            raise UnreadableError(
                f"{self._where} is larger than a ConfigMap can be ({self._limit} bytes)"
            )
        self._text = text
        if BOM in text:
            line = text.count("\n", 0, text.index(BOM))
            raise self._ambiguous(line, "a byte order mark stands inside of the text")
        events = yaml.parse(text, Loader=Loader)
        try:
            for event in events:
                if isinstance(event, yaml.DocumentEndEvent):
                    break
                self._take(event)
        except yaml.MarkedYAMLError as error:
            raise self._failed(error) from None
        except (yaml.YAMLError, UnicodeError) as error:
            raise UnreadableError(
                f"{self._where} is neither YAML nor JSON ({type(error).__name__})"
            ) from None
        if self._unfit and self._root and not fits_json(self._root.value):
            raise self._unreadable(self._unfit[0], "holds a key or a number that JSON cannot hold")
        try:
            self.alone = isinstance(next(events, yaml.StreamEndEvent()), yaml.StreamEndEvent)
        except (yaml.YAMLError, UnicodeError):
            self.alone = False
        return self._root

    def _failed(self, error: yaml.MarkedYAMLError) -> AwsAuthError:
        mark, problem = error.problem_mark, str(error.problem)
        if mark is None:
            return UnreadableError(f"{self._where} is neither YAML nor JSON: {problem}")
        before = self._before(mark) + self._before(error.context_mark or mark)
        if (
            # go-yaml reads `[a:]`, the escape of a single quote, and tags with these characters.
            problem == "found unexpected ':'"
            or (problem == "found unknown escape character" and self._at(mark, 2) == r"\'")
            or (problem in _BAD_TAG and self._at(mark, 1) in {",", "[", "]"})
            # It does not look beyond a list in brackets for the `:` that would make a key of it.
            or set("]}") & set(before)
        ):
            return self._ambiguous(mark.line, problem)
        at = f"line {mark.line + 1}, column {mark.column + 1}"
        return UnreadableError(f"{self._where} is neither YAML nor JSON, {at}: {problem}")

    def _before(self, mark: Any) -> str:
        return self._text[self._text.rfind("\n", 0, mark.index) + 1 : mark.index]

    def _at(self, mark: Any, length: int) -> str:
        return self._text[mark.index : mark.index + length]

    def _unreadable(self, line: int, problem: str) -> UnreadableError:
        return UnreadableError(f"{self._where}, line {line + 1}: {problem}")

    def _ambiguous(self, line: int, problem: str) -> AwsAuthError:
        return AwsAuthError(
            f"{self._where}, line {line + 1}: {problem}; the authenticator may read this, and this "
            "program does not: write that line in another way"
        )

    def _take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                value = self._scalar(event)
                self._add(value, event, _span(event), self._anchor(event.anchor))
            case yaml.CollectionStartEvent():
                self._start(event)
            case yaml.CollectionEndEvent():
                done = self._stack.pop()
                if done.flow:
                    done.end = event.end_mark.index
                value = self._mapping(done) if done.mapping else done.values
                self._add(value, event, (done.start, done.end), done.anchor, done)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent() if event.version and event.version != (1, 1):
                # libyaml also accepts 1.2.
                raise self._unreadable(event.start_mark.line, "asks for another YAML than 1.1")

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        line = event.start_mark.line
        plain = event.style not in {'"', "'", "|", ">"}
        if plain and "?" in event.value and self._stack and self._stack[-1].flow:
            raise self._unreadable(line, "text with a `?` inside brackets needs quotes")
        if event.style == '"' and _SLASH.search(self._text[slice(*_span(event))]):
            raise self._unreadable(line, r"holds the escape `\/`, which only JSON has")
        if event.value == "<<" and (event.implicit[0] or event.tag == MERGE):
            return MERGE, "<<"
        if event.tag is None:
            tag = plain_tag(event.value) if event.implicit[0] else STR
            value = event.value if tag == STR else (tag, event.value)
        else:
            try:
                value = tagged(event.tag, event.value)
            except ValueError:
                raise self._unreadable(
                    line, f"{event.value!r} is no {event.tag.removeprefix(CORE)}"
                ) from None
        if isinstance(value, tuple) and value[0] == FLOAT and not is_finite(value[1]):
            self._unfit.append(line)
        return value

    def _start(self, event: Any) -> None:
        if len(self._stack) >= _DEEPEST:
            line = event.start_mark.line
            raise self._unreadable(line, f"nested deeper than {_DEEPEST} levels")
        mapping = isinstance(event, yaml.MappingStartEvent)
        start, end = _span(event)
        anchor = self._anchor(event.anchor)
        flow = bool(event.flow_style)
        line = event.start_mark.line
        self._stack.append(_Open(start, end, line, flow, mapping, anchor, self._count))
        self.depth = max(self.depth, len(self._stack))

    def _anchor(self, name: str | None) -> _Anchor | None:
        if not name:
            return None
        self._anchors[name] = _Anchor()
        return self._anchors[name]

    def _alias(self, event: Any) -> None:
        line = event.start_mark.line
        anchor = self._anchors.get(event.anchor)
        if anchor is None or not anchor.complete:
            raise self._unreadable(line, f"the alias *{event.anchor} has no complete anchor")
        self._count += anchor.size
        self._by_alias += anchor.size
        if _is_excessive(self._count + 1, self._by_alias):
            raise self._unreadable(line, "repeats itself too often through its aliases")
        value = anchor.value
        self._add("<<" if is_merge(value) else value, event, _span(event), None)

    def _add(
        self,
        value: Any,
        event: Any,
        span: tuple[int, int],
        anchor: _Anchor | None,
        done: _Open | None = None,
    ) -> None:
        before = done.counted if done else self._count
        self._count += 1
        if anchor:
            anchor.value, anchor.size, anchor.complete = value, self._count - before, True
        if not self._stack:
            self._root = _Root(value, *span, bool(done and done.flow), done.spans if done else [])
            return
        parent = self._stack[-1]
        line = done.line if done else event.start_mark.line
        if parent.mapping and len(parent.values) % 2 == 0:
            self._check_key(value, line, flow=bool(done and done.flow))
        elif parent.mapping and is_merge(parent.values[-1]):
            maps = value if done and isinstance(value, list) else [value]
            if not all(isinstance(each, dict) for each in maps):
                raise self._unreadable(line, _NO_MERGE)
        parent.values.append(value)
        parent.end = span[1]
        if len(self._stack) == 1:
            parent.spans.append(span)

    def _check_key(self, key: Any, line: int, *, flow: bool) -> None:
        if isinstance(key, dict | list) and len(self._stack) == 1 and flow:
            # go-yaml takes some of these for a list with text behind it.
            raise self._ambiguous(line, "a list or mapping in brackets stands before a `:`")
        if isinstance(key, dict):
            raise self._unreadable(line, "a mapping cannot be a key; text with braces needs quotes")
        if isinstance(key, list):
            raise self._unreadable(line, "a list cannot be a key")
        if not is_json_key(key):
            self._unfit.append(line)

    def _mapping(self, done: _Open) -> dict[Any, Any]:
        """Return the mapping; in go-yaml `<<` replaces the keys before it, not those after it."""
        mapping: dict[Any, Any] = {}
        for key, value in zip(done.values[::2], done.values[1::2], strict=True):
            if not is_merge(key):
                text = text_of(key)
                mapping[key if text is None else text] = value
                continue
            for base in reversed(value) if isinstance(value, list) else [value]:
                mapping.update(base)
        return mapping


def _is_excessive(decoded: int, by_alias: int) -> bool:
    """Return True for a document of aliases that go-yaml refuses as a bomb.

    Source: yaml/go-yaml v2, decode.go (allowedAliasRatio)
    """
    share = (min(max(decoded, _RATIO_FROM), _RATIO_TO) - _RATIO_FROM) / (_RATIO_TO - _RATIO_FROM)
    return by_alias > 100 and decoded > 1000 and by_alias / decoded > 0.99 - 0.89 * share  # noqa: PLR2004
