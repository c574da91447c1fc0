"""What the resources over the CAST AI API share: access from `configure`, progress, bounded waits.

Address and key belong to the run, not to a resource: the environment's CASTAI_API_URL and
CASTAI_API_KEY come first, because on destroy `configure` sees the configuration of the last `up`.
Providers are pickled by reference, so their classes are importable and hold nothing before
`configure`; heavy libraries are imported where they are used, because a preview only compares.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pulumi.dynamic import ConfigureRequest, ResourceProvider

from castai_stack.resources.unknown import is_unknown

if TYPE_CHECKING:
    from castai_stack.castai_api import CastaiApi, Cluster

DEFAULT_URL = "https://api.cast.ai"
TAKE_OVER = "CASTAI_TAKE_OVER_CREDENTIALS"
"""Environment switch: treat credentials that somebody else handed over as this stack's."""
LEAVE_NODES = "CASTAI_LEAVE_NODES"
"""Environment switch: disconnect although nodes that CAST AI made stay without their role."""

_PAUSES = (0.5, 1.0, 2.0, 3.0)
_LONGEST_PAUSE = 5.0
_TELL_EVERY = 15.0

T = TypeVar("T")


class ResourceFailed(Exception):  # noqa: N818 - a state of the resource, told to a person
    """An operation on a resource cannot succeed; the text is a sentence without a secret."""


class CastaiProvider(ResourceProvider):
    """Base of the providers: holds the run's access, and nothing of any resource."""

    # The pickle names a class and nothing else; encrypting it would only hide the diff.
    serialize_as_secret_always = False

    _url: str
    _key: str
    _client: "CastaiApi | None"

    def configure(self, req: ConfigureRequest) -> None:
        """Take address and key from the environment, else from the stack's configuration."""
        settings = req.config.get("castai")
        if isinstance(settings, str):
            settings = json.loads(settings)
        api = settings.get("api") if isinstance(settings, Mapping) else None
        configured = api.get("url") if isinstance(api, Mapping) else None
        self._url = os.environ.get("CASTAI_API_URL") or configured or DEFAULT_URL
        self._key = os.environ.get("CASTAI_API_KEY") or req.config.get("apiKey") or ""
        self._client = None

    def api(self) -> "CastaiApi":
        """Return the client, made when first needed."""
        from castai_stack.castai_api import CastaiApi  # noqa: PLC0415 - see the module's docstring

        if self._client is None:
            self._client = CastaiApi(self._url, self._key)
        return self._client

    def found(self, cluster_id: str) -> "Cluster":
        """Return the cluster, which must exist and not be archived."""
        cluster = self.api().get_cluster(cluster_id)
        if cluster is None or cluster.archived:
            raise ResourceFailed(
                f"CAST AI has no live cluster {cluster_id}: it was removed there. "
                "Run `pulumi refresh`, then `pulumi up` registers it anew."
            )
        return cluster


class Clock(Protocol):
    """Time as the waits see it."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Let time pass."""
        ...


CLOCK: Clock = time
"""Replaced by tests."""


def tell(text: str) -> None:
    """Show a line to the person who runs this; the engine passes on what plugins write here."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the only way out of a plugin


def warn(text: str) -> None:
    """Show a warning, in previews as well."""
    tell(f"warning: {text}")


class Wait:
    """A bounded wait that says how it goes.

    Iterate over it: each round is one look, the first at once. It ends after `seconds`; what
    then is the caller's to say.
    """

    def __init__(self, purpose: str, seconds: float) -> None:
        self.purpose = purpose
        self.seconds = seconds
        self._started = CLOCK.monotonic()
        self._told = ("", self._started)
        self._looks = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return CLOCK.monotonic() - self._started

    def until(self, look: Callable[[], T | None]) -> T | None:
        """Return the first answer of `look` that is not None, or None when time is up."""
        while True:
            answer = look()
            if answer is not None:
                return answer
            if not self.pause():
                return None

    def pause(self) -> bool:
        """Let a little time pass; False when there is none left."""
        left = self.seconds - self.elapsed
        if left <= 0:
            return False
        pause = _PAUSES[self._looks] if self._looks < len(_PAUSES) else _LONGEST_PAUSE
        self._looks += 1
        CLOCK.sleep(min(pause, left))
        return True

    def say(self, state: str, more: Callable[[], str] | None = None) -> None:
        """Tell the state when it is new, and every fifteen seconds with what `more` finds."""
        last, at = self._told
        now = CLOCK.monotonic()
        if state == last and now - at < _TELL_EVERY:
            return
        detail = f" ({more()})" if more is not None and state == last else ""
        self._told = (state, now)
        tell(f"{self.purpose}: {state}{detail}, {self.elapsed:.0f} of {self.seconds:.0f} s")


def is_known(value: object) -> bool:
    """Whether a value is there to compare with; in a preview some are not yet."""
    return value is not None and not is_unknown(value)


def differs(olds: Mapping[str, Any], news: Mapping[str, Any], *names: str) -> list[str]:
    """Names whose wanted value is known and is another than the one there is."""
    return [name for name in names if is_known(news.get(name)) and olds.get(name) != news[name]]


def unknown(news: Mapping[str, Any], *names: str) -> bool:
    """Whether any wanted value is not known yet."""
    return any(is_unknown(news.get(name)) for name in names)


def switched_on(name: str) -> bool:
    """Whether an environment switch is set to something."""
    return os.environ.get(name, "").strip().lower() not in ("", "0", "no", "false")
