"""boto3 clients of the commands, and AWS's errors as sentences."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.parsers import ResponseParserError

from castai_stack.commands.command_line import CommandError

Clients = Callable[[str], Any]
"""Returns the client of a service by its name, such as `iam`."""

_ATTEMPTS = 8
_ADVICE = "check AWS_PROFILE, the other AWS_ variables and the files in ~/.aws, or log in again"


class AwsError(CommandError):
    """AWS refused a request or could not be asked; the message names the request."""


@contextmanager
def asking(question: str) -> Iterator[None]:
    """Turn every failure of a request to AWS, and of what configures it, into an AwsError."""
    try:
        yield
    except CommandError:
        raise
    except ClientError as error:
        answer = error.response.get("Error", {})
        raise AwsError(
            f"{question}: AWS answers {answer.get('Code')}: {answer.get('Message')}"
        ) from None
    except BotoCoreError as error:
        # This one quotes the exception below, such as a header with the session token.
        quotes = type(error) is HTTPClientError
        reason = "the request cannot be sent" if quotes else str(error)
        raise AwsError(f"{question}: {reason}; {_ADVICE}") from None
    except ResponseParserError:  # it quotes the answer, which may hold a key
        raise AwsError(
            f"{question}: the answer is incomplete, or comes from a proxy instead of AWS; "
            "run the same command again"
        ) from None
    except KeyError as error:
        raise AwsError(f"{question}: AWS's answer lacks {error}") from None
    # botocore reads configuration, certificates and the output of login programs without errors
    # of its own. The text of a ValueError may quote what the program printed.
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        reason = error.strerror or type(error).__name__
        raise AwsError(f"{question}: {reason}{place}; {_ADVICE}") from None
    except (ValueError, TypeError) as error:
        raise AwsError(
            f"{question}: AWS's configuration cannot be used ({type(error).__name__}); {_ADVICE}"
        ) from None


def clients(region: str, account_id: str) -> Clients:
    """Return the clients; credentials and addresses come from the environment.

    Raises AwsError without working credentials, and for those of another account.
    """
    with asking("the account"):
        # A session of its own: the shared one would keep credentials of an earlier call.
        session: Any = boto3.session.Session()
        retries = Config(retries={"mode": "standard", "total_max_attempts": _ATTEMPTS})
        account = session.client("sts", region_name=region, config=retries).get_caller_identity()
        if account["Account"] != account_id:
            raise AwsError(
                f"the AWS credentials are for account {account['Account']}, the cluster is in "
                f"{account_id}; use credentials of that account"
            )
    return lambda service: session.client(service, region_name=region, config=retries)
