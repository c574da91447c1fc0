"""The handlers of the mapping where no server is needed; what they write is shown on real ones."""

from castai_stack.access.handlers import AccessEntryPlaceHandler
from castai_stack.plugin.values import UNKNOWN
from tests.support.plugin import handler


def test_the_place_of_an_access_entry_is_looked_at_once_for_each_principal():
    diff = handler(AccessEntryPlaceHandler).diff
    olds = {"principal_arn": "a", "adopt": False, "region": "r", "cluster_name": "c"}

    assert diff("", olds, {**olds, "adopt": True}).changes is False
    assert diff("", olds, {**olds, "principal_arn": UNKNOWN}).changes is False
    assert diff("", olds, {**olds, "principal_arn": "b"}).replaces == ["principal_arn"]
