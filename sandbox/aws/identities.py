"""Identities that sign requests: users' keys, sessions of roles, principals of other accounts.

Credentials are judged here and not by moto, which answers any key.
"""

import hashlib
import random
import secrets
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sandbox.aws import backends
from sandbox.constants import ACCOUNT, PARTITION, ROOT_ARN

_ALPHABET = string.ascii_uppercase + "234567"


class Clock:
    """Time that can be advanced; never goes back."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def advance(self, seconds: float) -> None:
        """Advance the clock by `seconds`."""
        if seconds < 0:
            raise ValueError(f"advance: found {seconds}, wanted seconds from 0")
        self._ahead += seconds

    def now(self) -> float:
        """Seconds on a monotonic clock."""
        return time.monotonic() + self._ahead

    def wall(self) -> datetime:
        """Read the date, as far ahead as the clock."""
        return datetime.now(UTC) + timedelta(seconds=self._ahead)


class Propagation:
    """IAM is eventually consistent: other services see a new object only after a delay.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
    The delay depends on the seed and on the object, so that a run can be repeated.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds = 0.0
        self._seed: Any = 0
        self._visible_at: dict[tuple[str, str], float] = {}

    def configure(self, document: Mapping[str, Any]) -> None:
        """Take `propagation_seconds` and `seed` from a fault document; without, all is visible."""
        self._seconds = float(document.get("propagation_seconds", 0))
        if not self._seconds:
            self._visible_at.clear()
        self._seed = document.get("seed", 0)

    def record(self, kind: str, identity: str, name: str) -> None:
        """Record a new `identity`; its delay depends on `name`."""
        if self._seconds:
            dice = random.Random(f"{self._seed}:{kind}:{name}")  # noqa: S311 - repeatable
            delay = self._seconds * dice.uniform(0.3, 1)
            self._visible_at[kind, identity] = self._clock.now() + delay

    def visible(self, kind: str, identity: str) -> bool:
        """Whether others see it yet."""
        return self._clock.now() >= self._visible_at.get((kind, identity), 0)


@dataclass(frozen=True)
class Principal:
    """A caller, as GetCallerIdentity names it."""

    kind: Literal["root", "user", "role", "foreign"]
    arn: str
    user_id: str
    account: str
    source_arn: str
    """The user's or role's own ARN, where `arn` is a session's."""

    @property
    def unique_id(self) -> str:
        """Unique id to which trust policies and access entries are bound."""
        return self.user_id.partition(":")[0]


@dataclass(frozen=True)
class Credential:
    """A key that may sign."""

    access_key_id: str
    secret: str
    token: str
    principal: Principal
    expires: datetime | None = None
    active: bool = True


@dataclass
class Identities:
    """Every credential that the sandbox knows."""

    clock: Clock
    propagation: Propagation
    sessions: dict[str, Credential] = field(default_factory=dict)
    foreign: dict[str, Credential] = field(default_factory=dict)
    """By ARN."""
    secret_keys: list[str] = field(default_factory=list)
    """Secrets of every key that a user was ever given."""

    def find(self, access_key_id: str) -> Credential | None:
        """Whose key this is; None for one that was never made, or is gone, or not yet seen."""
        session = self.sessions.get(access_key_id)
        if session is not None:
            return session if self._alive(session.principal) else None
        for credential in self.foreign.values():
            if credential.access_key_id == access_key_id:
                return credential
        for user in backends.iam().users.values():
            for key in user.access_keys:
                if key.access_key_id == access_key_id:
                    if not self.propagation.visible("key", access_key_id):
                        return None
                    principal = Principal("user", user.arn, user.id, ACCOUNT, user.arn)
                    return Credential(
                        access_key_id,
                        key.secret_access_key,
                        "",
                        principal,
                        active=key.status == "Active",
                    )
        return None

    def note_use(self, access_key_id: str, service: str, region: str) -> None:
        """Record a use, for GetAccessKeyLastUsed."""
        from moto.iam.models import AccessKeyLastUsed  # noqa: PLC0415 - lazy

        key = backends.iam().access_keys.get(access_key_id)
        if key is not None:
            key.last_used = AccessKeyLastUsed(self.clock.wall(), service, region)

    def _alive(self, principal: Principal) -> bool:
        return principal.kind != "role" or principal.unique_id in backends.iam().roles

    def open_session(self, role: Any, name: str, seconds: float) -> Credential:
        """Temporary credentials of `role`; negative seconds make one that has expired."""
        short = f"arn:{PARTITION}:sts::{ACCOUNT}:assumed-role/{role.name}/{name}"
        principal = Principal("role", short, f"{role.id}:{name}", ACCOUNT, role.arn)
        return self._keep(principal, self.clock.wall() + timedelta(seconds=seconds))

    def open_root(self) -> Credential:
        """Credentials that may do anything, to furnish the account with."""
        principal = Principal("root", ROOT_ARN, ACCOUNT, ACCOUNT, ROOT_ARN)
        return self._keep(principal, None)

    def _keep(self, principal: Principal, expires: datetime | None) -> Credential:
        credential = Credential(
            random_id("ASIA"),
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(90),
            principal,
            expires,
        )
        self.sessions[credential.access_key_id] = credential
        return credential

    def make_foreign(self, arn: str) -> Credential:
        """Create a user of another account; a second call creates another one of that name."""
        account = arn.split(":")[4]
        principal = Principal("foreign", arn, random_id("AIDA"), account, arn)
        credential = Credential(random_id("AKIA"), secrets.token_urlsafe(30), "", principal)
        self.foreign[arn] = credential
        return credential

    def unique_id(self, arn: str) -> str | None:
        """Find the unique id behind a user's or role's ARN that exists and can be seen by now."""
        if arn in self.foreign:
            return self.foreign[arn].principal.unique_id
        iam = backends.iam()
        for kind, things in (("user", iam.users), ("role", iam.roles)):
            for thing in things.values():
                if thing.arn == arn and self.propagation.visible(kind, thing.id):
                    return str(thing.id)
        return None


def random_id(prefix: str, length: int = 16) -> str:
    """Draw an identifier such as IAM makes them."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def digest(text: str | bytes) -> str:
    """Stands for a secret where it may be compared and must not be shown."""
    raw = text.encode() if isinstance(text, str) else text
    return "sha256:" + hashlib.sha256(raw).hexdigest()
