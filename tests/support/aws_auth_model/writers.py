"""Writers of the map: the program, and tools that read, edit and write it back."""

import functools
from dataclasses import dataclass, replace

from castai_stack.access.protocol import Order, Snapshot


@dataclass(frozen=True)
class Program:
    """One run of the program's code; its answers so far determine its position."""

    order: Order
    answers: tuple = ()
    done: bool = False

    @functools.cached_property
    def key(self):
        answers = tuple(one if isinstance(one, bool) else id(one) for one in self.answers)
        return (id(self.order), answers, self.done)

    def after(self, answer) -> "Program":
        return replace(self, answers=(*self.answers, answer))


@dataclass(frozen=True)
class Tool:
    """A tool that adds an entry by hand and repeats its write until the version matches."""

    name: str
    read: Snapshot | None = None
    has_read: bool = False
    done: bool = False

    @property
    def key(self):
        return (self.name, id(self.read), self.has_read, self.done)

    def edited(self) -> Snapshot:
        data = dict(self.read.data) if self.read else {}
        line = f"- {{rolearn: 'foreign-{self.name}', groups: [x]}} # by hand\n"
        data["mapRoles"] = data.get("mapRoles", "") + line
        return Snapshot("", data, self.read.annotations if self.read else {})
