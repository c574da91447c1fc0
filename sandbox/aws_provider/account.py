"""The AWS account behind the sandbox's endpoint: clients, identity, and patience.

boto3's layer below, botocore, is loaded when the first request is made, because a preview
without change makes hardly any.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sandbox import cache
from sandbox.aws_provider import models

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

STATE = "CASTAI_SANDBOX_STATE"
ENDPOINT = "AWS_ENDPOINT_URL"
WAITS = "CASTAI_SANDBOX_AWS_WAITS"
"""Variable that, when not empty, makes the stand-in wait as long as the real provider does."""
PROPAGATION_SECONDS = 120  # until other services know a new principal
APPEARS_SECONDS = 20  # until a service knows what it was told a moment ago
_ATTEMPTS = 25
_LONGEST_PAUSE = 20.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ABSENT = frozenset(
    {
        "InvalidGroup.NotFound",
        "NoSuchEntity",
        "NotFoundException",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
    }
)


class RefusedError(Exception):
    """A sentence for the person at the engine; shown without a traceback."""


def require_sandbox() -> None:
    """Refuse to run outside of a sandbox, whose state folder the environment names."""
    folder = os.environ.get(STATE, "")
    if not folder or not Path(folder).is_dir():
        raise RefusedError(
            f"{STATE} names no folder: this stand-in for the AWS plugin runs inside the sandbox "
            "only. For a real account take it from PATH and install pulumi-resource-aws"
        )


def endpoint() -> str:
    """Address of the sandbox's AWS; anything but loopback is refused."""
    address = os.environ.get(ENDPOINT, "")
    if not address:
        raise RefusedError(f"{ENDPOINT} is not set: the stand-in talks to the sandbox's AWS only")
    if urlsplit(address).hostname not in _LOOPBACK:
        raise RefusedError(
            f"{ENDPOINT} is {address}: the stand-in talks to loopback addresses only"
        )
    return address


@dataclass(frozen=True)
class Settings:
    """Configuration of the provider, as far as the stand-in carries it out."""

    region: str
    allowed_account_ids: list[str] = field(default_factory=list)
    default_tags: dict[str, str] = field(default_factory=dict)


class Account:
    """Clients of one account and region; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.region = settings.region
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[tuple[str, str], Any] = {}
        self._identity: dict[str, str] | None = None

    def client(self, service: str, region: str | None = None) -> Any:
        """Return the client of a service, created on first use."""
        key = (service, region or self.region)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._connect(*key)
            return self._clients[key]

    def _connect(self, service: str, region: str) -> Any:
        from botocore.config import Config  # noqa: PLC0415 - see the module's docstring
        from botocore.session import Session  # noqa: PLC0415

        if self._session is None:
            self._session = Session()
            self._session.set_config_variable("data_path", str(models.folder(cache.folder())))
        client: Any = self._session.create_client(
            service,
            region_name=region,
            endpoint_url=endpoint(),
            config=Config(
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=32,
            ),
        )
        client.meta.events.register_last("needs-retry", _throttled_again)
        return client

    def identity(self) -> dict[str, str]:
        """Return the caller's `Account`, `Arn` and `UserId`, looked up once."""
        if self._identity is None:
            answer = self.client("sts").get_caller_identity()
            self._identity = {name: answer[name] for name in ("Account", "Arn", "UserId")}
        return self._identity

    @property
    def account_id(self) -> str:
        """Account of whoever asks."""
        return self.identity()["Account"]

    def check_allowed(self) -> None:
        """Refuse accounts that the configuration does not allow, as the provider does."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            account_id = self.account_id
        except (BotoCoreError, ClientError) as error:
            raise RefusedError(f"the AWS credentials were not accepted: {error}") from error
        allowed = self.settings.allowed_account_ids
        if allowed and account_id not in allowed:
            raise RefusedError(
                f"AWS account id not allowed: {account_id}; allowedAccountIds: {', '.join(allowed)}"
            )

    def retry(
        self,
        call: Callable[[], Any],
        passing: Callable[["ClientError"], bool],
    ) -> Any:
        """Repeat a call while its error is a passing one, within the time that such errors take."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        start = time.monotonic()
        pause = 0.2
        while True:
            try:
                return call()
            except ClientError as error:
                seconds = APPEARS_SECONDS if is_absent(error) else PROPAGATION_SECONDS
                if not passing(error) or time.monotonic() + pause > start + seconds:
                    raise
            self.pause(pause)
            pause = min(pause * 2, 3)

    def pause(self, seconds: float) -> None:
        """Wait, unless the engine ends the operation."""
        if self.stopping.wait(seconds):
            raise RefusedError("cancelled while waiting for AWS")

    def wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait until a condition holds, at most `seconds`."""
        end = time.monotonic() + seconds
        pause = 0.1
        while not ready():
            if time.monotonic() > end:
                raise RefusedError(f"{what}: not so after {seconds:.0f} s")
            self.pause(pause)
            pause = min(pause * 2, 3)


def _throttled_again(
    response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any
) -> float | None:
    """Return the pause before a throttled request is repeated; None if it is not.

    botocore stops earlier, at a quota of repetitions over all requests of a client. The real
    provider has none (hashicorp/terraform-provider-aws#36024), and 25 attempts of each request.
    """
    answer = {} if response is None else response[1].get("Error", {})
    if answer.get("Code") != "Throttling" or attempts >= _ATTEMPTS:
        return None
    return random.uniform(0, min(2.0**attempts, _LONGEST_PAUSE))  # noqa: S311 - no secret


def code(error: "ClientError") -> str:
    """Error code as AWS spells it."""
    return error.response.get("Error", {}).get("Code", "")


def message(error: "ClientError") -> str:
    """Error text as AWS gives it."""
    return error.response.get("Error", {}).get("Message", "")


def is_absent(error: "ClientError") -> bool:
    """Whether AWS answers that an object is absent."""
    return code(error) in _ABSENT


@contextmanager
def absent_is_fine() -> Iterator[None]:
    """Ignore AWS's answer that an object is absent."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        yield
    except ClientError as error:
        if not is_absent(error):
            raise


def is_gone(call: Callable[..., Any], *arguments: Any) -> bool:
    """Whether AWS answers a call by reporting that the object is absent."""
    with absent_is_fine():
        call(*arguments)
        return False
    return True
