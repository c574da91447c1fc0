"""Read one list of aws-auth as the authenticator does.

The authenticator turns the first YAML document of the value into JSON and decodes that into its
mappings. A list that fails on the way maps nobody, whatever its other items say.

Sources: kubernetes-sigs/aws-iam-authenticator, pkg/mapper/configmap/configmap.go (ParseMap) and
pkg/config/mapper.go (Validate); kubernetes-sigs/yaml, yaml.go (YAMLToJSON); yaml/go-yaml v2,
decode.go, resolve.go and scannerc.go; the Go standard library, encoding/json (Unmarshal).
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

import yaml

from castai_stack.access.entries import (
    KEYS,
    LIMIT,
    WHERE,
    AwsAuthError,
    Grant,
    Item,
    Kind,
    Listing,
    UnreadableError,
)

BOM = "\ufeff"
_EMPTY = frozenset({"", "``", '""', "''"})
# strings.TrimSpace; str.strip() takes four control characters more.
_GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))
_GO_SPACE += "\u2028\u2029\u202f\u205f\u3000"
_DEEPEST = 10_000
"""Levels that encoding/json decodes, and that go-yaml's scanner opens."""


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
        if _is_null(root.value):
            return Listing(kind, text, (), "empty", span, reader.depth, reader.alone)
        shape = "a mapping" if isinstance(root.value, dict) else "plain text"
        raise UnreadableError(f"{WHERE}: {KEYS[kind]} must be a list of mappings, found {shape}")
    items = tuple(
        Item(kind, index, value, start + shift, end + shift, *_decoded(kind, value))
        for index, (value, (start, end)) in enumerate(zip(root.value, root.spans, strict=True))
    )
    form = "flow" if root.flow else "block"
    return Listing(kind, text, items, form, span, reader.depth, reader.alone)


# --- from JSON to mappings ------------------------------------------------------------------------

_ROLE_FIELDS = frozenset({"rolearn", "sso", "username", "groups", "userid"})
_USER_FIELDS = frozenset({"userarn", "username", "groups", "userid"})
_SSO_FIELDS = frozenset({"permissionsetname", "accountid", "partition"})
_ACCOUNT = re.compile(r"[0-9]{12}")
_PERMISSION_SET = re.compile(r"[\w+=,.@-]{1,32}", re.ASCII)
_SSO_PARTITIONS = frozenset({"", "aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b"})


def _decoded(kind: Kind, value: Any) -> tuple[str, Grant | None]:
    """Return the ARN that the item spells, in lower case, and what the authenticator keeps of it.

    A field of another type than text counts as absent; of two spellings of one field the later in
    the order of their characters wins.
    """
    if not isinstance(value, dict):
        return "", None
    texts: dict[str, str] = {}
    groups: list[str] = []
    sso: dict[str, str] | None = None
    for name, each in _fields(value, _ROLE_FIELDS if kind == "role" else _USER_FIELDS):
        if name == "groups":
            groups = _groups(each, groups)
        elif name == "sso":
            sso = None if _is_null(each) else {**(sso or {}), **_sso(each)}
        elif (text := text_of(each)) is not None:
            texts[name] = text
    arn = texts.get("rolearn" if kind == "role" else "userarn", "")
    pattern = None if sso is None or arn else _sso_pattern(sso)
    accepted = pattern if sso is not None else arn
    if not accepted:
        return arn.lower(), None
    grant = Grant(accepted, texts.get("username", ""), tuple(groups), sso=sso is not None)
    return arn.lower(), grant


def _fields(value: dict[Any, Any], names: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Fields of these names in the order in which encoding/json meets them; case does not count."""
    texts = [(text, key) for key in value if (text := text_of(key)) is not None]
    for text, key in sorted(texts, key=lambda pair: pair[0]):
        # encoding/json folds these two letters, too.
        folded = text.lower().replace("\u017f", "s").replace("\u212a", "k")
        if folded in names:
            yield folded, value[key]


def _groups(value: Any, current: list[str]) -> list[str]:
    if _is_null(value):
        return []
    if not isinstance(value, list):
        return current
    texts = [text_of(each) for each in value]
    # A group that is no text leaves what stood in its place.
    return [
        text if text is not None else (current[index] if index < len(current) else "")
        for index, text in enumerate(texts)
    ]


def _sso(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    fields = ((name, text_of(each)) for name, each in _fields(value, _SSO_FIELDS))
    return {name: text for name, text in fields if text is not None}


def _sso_pattern(sso: dict[str, str]) -> str | None:
    """Pattern of the roles of a permission set; None when the authenticator refuses the item."""
    account, name = sso.get("accountid", ""), sso.get("permissionsetname", "")
    partition = sso.get("partition", "")
    valid = _ACCOUNT.fullmatch(account) and _PERMISSION_SET.fullmatch(name)
    if not valid or partition not in _SSO_PARTITIONS:
        return None
    # A partition that is given is left out of the pattern, which then matches nobody.
    written = "" if partition else "aws"
    return f"arn:{written}:iam::{account}:role/AWSReservedSSO_{name}_*".lower()


# --- from YAML to JSON ----------------------------------------------------------------------------

_CORE = "tag:yaml.org,2002:"
_NULL, _STR, _BOOL, _INT, _FLOAT, _TIMESTAMP, _BINARY, _MERGE = (
    _CORE + name for name in ("null", "str", "bool", "int", "float", "timestamp", "binary", "merge")
)
_JSON_SCALARS = frozenset({_NULL, _BOOL, _INT, _FLOAT})
_RESOLVED = frozenset({_STR, _TIMESTAMP, *_JSON_SCALARS})
"""Tags whose text go-yaml checks; it reads the text of any other tag as it is."""
_WORDS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE"), _BOOL),
    **dict.fromkeys(("on", "On", "ON", "n", "N", "no", "No", "NO"), _BOOL),
    **dict.fromkeys(("false", "False", "FALSE", "off", "Off", "OFF"), _BOOL),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), _NULL),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), _FLOAT),
    **dict.fromkeys((f"{s}.{i}" for s in ("", "+", "-") for i in ("inf", "Inf", "INF")), _FLOAT),
}
_INTEGER = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BINARY_INTEGER = re.compile(r"0b([+-]?)([01]+)")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DATE = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d))"
    r"|(?: (\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,]\d+)?))?",
    re.ASCII,
)
_SLASH = re.compile(r"(?<!\\)(?:\\\\)*\\/")
_BAD_TAG = {"did not find expected whitespace or line break", "did not find expected tag URI"}
_SIGNED, _UNSIGNED = 1 << 63, 1 << 64
_LONGEST_INTEGER = 100
_RATIO_FROM, _RATIO_TO = 400_000, 4_000_000

_NO_MERGE = "`<<` needs a mapping, or a list of mappings, as its value"

Scalar = str | tuple[str, str]
"""Text, or the tag and the text of everything else."""


def text_of(value: Any) -> str | None:
    """Text that JSON carries for a scalar; None for every other value."""
    if isinstance(value, str):
        return value
    if not isinstance(value, tuple) or value[0] in _JSON_SCALARS:
        return None
    tag, text = value
    if tag == _BINARY:
        return base64.b64decode(text).decode(errors="replace")
    return text


def _is_null(value: Any) -> bool:
    return isinstance(value, tuple) and value[0] == _NULL


@lru_cache(maxsize=4096)
def _plain_tag(text: str) -> str:
    """Tag that go-yaml gives to an unquoted scalar; dates are text to it."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return _FLOAT if _is_float(text) else _STR
    if text[0] not in "+-0123456789":
        return _STR
    digits = text.replace("_", "")
    if _integer(digits) is not None:
        return _INT
    return _FLOAT if _is_float(digits) else _STR


def _is_float(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and float(text) not in {float("inf"), float("-inf")}


def _integer(digits: str) -> int | None:
    """Value of an integer that fits into 64 bits, signed or, without a sign, unsigned."""
    if len(digits) > _LONGEST_INTEGER:
        return None
    if match := _INTEGER.fullmatch(digits):
        sign, hexadecimal, binary, octal, decimal = match.groups()
        bases = ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10))
        value = next(int(number, base) for number, base in bases if number)
    elif match := _BINARY_INTEGER.fullmatch(digits):
        sign, value = match[1], int(match[2], 2)
    else:
        return None
    value = -value if sign == "-" else value
    fits = -_SIGNED <= value < (_SIGNED if sign else _UNSIGNED)
    return value if fits else None


def _is_timestamp(text: str) -> bool:
    if not (match := _DATE.fullmatch(text)):
        return False
    year, month, day, *times = match.groups()
    clock = [int(each) for each in times if each] or [0, 0, 0]
    try:
        date(int(year) or 4, int(month), int(day))
    except ValueError:
        return False
    return all(each < most for each, most in zip(clock, (24, 60, 60), strict=True))


def _tagged(tag: str, text: str) -> Scalar:
    """Resolve a scalar with a tag of its own; raises ValueError where go-yaml fails."""
    if tag == _BINARY:
        base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
        return tag, text.replace("\r", "").replace("\n", "")
    if tag not in _RESOLVED:
        return tag, text
    if tag == _STR:
        return text
    if tag == _TIMESTAMP:
        if not _is_timestamp(text):
            raise ValueError
        return tag, text
    plain = _plain_tag(text)
    digits = text.replace("_", "")
    if tag == _FLOAT and plain == _INT and (_integer(digits) or 0) < _SIGNED:
        plain = _FLOAT
    if plain != tag:
        raise ValueError
    return tag, text


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    start: int
    end: int
    """After the last character of its content; a block collection claims what follows, too."""
    line: int
    flow: bool
    mapping: bool
    anchor: "_Anchor | None"
    counted: int
    values: list[Any] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Anchor:
    """What an anchor names; without a value while its collection is open."""

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
    """Builds comparable values and the places of the list's items from PyYAML's events.

    Text is text; every other scalar is its tag and its text, so that reading changes nothing.
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
        """Read the first document of a text; None when there is none."""
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
        if self._unfit and self._root and not _fits_json(self._root.value):
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
        if event.value == "<<" and (event.implicit[0] or event.tag == _MERGE):
            return _MERGE, "<<"
        if event.tag is None:
            tag = _plain_tag(event.value) if event.implicit[0] else _STR
            value = event.value if tag == _STR else (tag, event.value)
        else:
            try:
                value = _tagged(event.tag, event.value)
            except ValueError:
                raise self._unreadable(
                    line, f"{event.value!r} is no {event.tag.removeprefix(_CORE)}"
                ) from None
        if isinstance(value, tuple) and value[0] == _FLOAT and not _is_finite(value[1]):
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
        self._add("<<" if _is_merge(value) else value, event, _span(event), None)

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
        elif parent.mapping and _is_merge(parent.values[-1]):
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
        if not _is_json_key(key):
            self._unfit.append(line)

    def _mapping(self, done: _Open) -> dict[Any, Any]:
        """Keys in their order: go-yaml lets `<<` replace what stands before it."""
        mapping: dict[Any, Any] = {}
        for key, value in zip(done.values[::2], done.values[1::2], strict=True):
            if not _is_merge(key):
                text = text_of(key)
                mapping[key if text is None else text] = value
                continue
            for base in reversed(value) if isinstance(value, list) else [value]:
                mapping.update(base)
        return mapping


def _is_merge(value: Any) -> bool:
    return isinstance(value, tuple) and value[0] == _MERGE and value[1] == "<<"


def _is_finite(text: str) -> bool:
    return _WORDS.get(text) != _FLOAT


def _is_json_key(key: Any) -> bool:
    """Tell whether sigs.k8s.io/yaml turns this scalar into a key of JSON."""
    if not isinstance(key, tuple):
        return True
    tag, text = key
    digits = text.replace("_", "")
    return tag != _NULL and (tag != _INT or (_integer(digits) or 0) < _SIGNED)


def _fits_json(root: Any) -> bool:
    """Tell whether JSON can hold the value; without recursion, each shared part once."""
    parts, visited = [root], set()
    while parts:
        part = parts.pop()
        if isinstance(part, tuple) and part[0] == _FLOAT and not _is_finite(part[1]):
            return False
        if not isinstance(part, dict | list) or id(part) in visited:
            continue
        visited.add(id(part))
        if isinstance(part, dict):
            if not all(map(_is_json_key, part)):
                return False
            parts += part.values()
        else:
            parts += part
    return True


def _is_excessive(decoded: int, by_alias: int) -> bool:
    """Tell whether go-yaml gives up on a document that is mostly repetition.

    Source: yaml/go-yaml v2, decode.go (allowedAliasRatio)
    """
    share = (min(max(decoded, _RATIO_FROM), _RATIO_TO) - _RATIO_FROM) / (_RATIO_TO - _RATIO_FROM)
    return by_alias > 100 and decoded > 1000 and by_alias / decoded > 0.99 - 0.89 * share  # noqa: PLR2004
