"""The objects that the API server holds, and its answer to a write."""

from dataclasses import dataclass

from castai_stack.access.entries import NAME
from castai_stack.access.protocol import Create, Delete, Patch, Snapshot, owned_entries

_OBJECTS: dict[tuple, Snapshot] = {}


def interned(version, data, annotations) -> Snapshot:
    """Return one object per content, so that states compare by identity."""
    key = (version, tuple(sorted(data.items())), tuple(sorted(annotations.items())))
    return _OBJECTS.setdefault(key, Snapshot(version, data, annotations))


@dataclass(frozen=True)
class Store:
    """All objects; a version is never used twice."""

    objects: tuple[tuple[str, Snapshot], ...] = ()
    writes: int = 0
    base: Snapshot | None = None
    """The map before the write that added the program's first entry."""

    def get(self, name) -> Snapshot | None:
        return dict(self.objects).get(name)

    def set(self, name, data, annotations) -> "Store":
        written = interned(str(self.writes + 1), data, annotations)
        current = self.get(NAME)
        first_entry = (
            name == NAME and owned_entries(written).entries and not owned_entries(current).entries
        )
        return Store(
            tuple(sorted({**dict(self.objects), name: written}.items())),
            self.writes + 1,
            current if first_entry else self.base,
        )

    def drop(self, name) -> "Store":
        rest = tuple((other, one) for other, one in self.objects if other != name)
        return Store(rest, self.writes + 1, self.base)

    def apply(self, step) -> tuple["Store", bool]:
        """Return the store after a step, and whether its version allowed it."""
        current = self.get(step.name)
        if isinstance(step, Create):
            if current is not None:
                return self, False
            return self.set(step.name, dict(step.data), _present(step.annotations)), True
        if current is None or current.version != step.version:
            return self, False
        if isinstance(step, Delete):
            return self.drop(step.name), True
        assert isinstance(step, Patch)
        data = _present({**current.data, **step.data})
        return self.set(
            step.name, data, _present({**current.annotations, **step.annotations})
        ), True

    def key(self):
        ids = tuple((name, id(one)) for name, one in self.objects)
        return (ids, self.writes, id(self.base))


def _present(values):
    """Return a merge patch's values; None removes a key."""
    return {key: value for key, value in values.items() if value is not None}
