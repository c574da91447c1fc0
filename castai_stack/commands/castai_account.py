"""CAST AI's API as the commands ask it."""

from collections.abc import Iterator
from contextlib import contextmanager

from castai_stack.castai.client import CastaiApi
from castai_stack.castai.model import CastaiError, Cluster
from castai_stack.commands.command_line import CommandError
from castai_stack.commands.target import Target


@contextmanager
def asking() -> Iterator[None]:
    """Turn every failure of a request to CAST AI into a CommandError."""
    try:
        yield
    except CastaiError as error:
        raise CommandError(str(error)) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise CommandError(
            f"CAST AI: an answer has an unexpected shape ({type(error).__name__}: {error}); "
            "check that api.url is CAST AI's API, and not a proxy or a page"
        ) from None


def registered(api: CastaiApi, target: Target) -> Iterator[Cluster]:
    """Yield the clusters of that name, region and account that CAST AI has not archived."""
    coordinates = (target.cluster, target.region, target.account_id)
    with asking():
        clusters = api.list_clusters()
    for cluster in clusters:
        same = (cluster.name, cluster.region, cluster.account_id) == coordinates
        if same and not cluster.archived:
            yield cluster
