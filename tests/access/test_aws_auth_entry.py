"""The providers of the mapping as the engine keeps them; what they do is shown on real servers."""

import base64

import pytest
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.rpc import UNKNOWN

from castai_stack.access.resources import AccessEntryPlaceProvider, AwsAuthEntryProvider


@pytest.mark.parametrize("provider_class", [AwsAuthEntryProvider, AccessEntryPlaceProvider])
def test_the_state_keeps_the_name_of_a_provider_and_none_of_its_code(provider_class):
    pickled = base64.b64decode(serialize_provider(provider_class()))

    assert provider_class.__module__.encode() in pickled
    assert len(pickled) < 200, "an edit of its code would show as a change of every entry"


def test_the_place_of_an_access_entry_is_looked_at_once_for_each_principal():
    diff = AccessEntryPlaceProvider().diff
    olds = {"principal_arn": "a", "adopt": False, "region": "r", "cluster_name": "c"}

    assert diff("", olds, {**olds, "adopt": True}).changes is False
    assert diff("", olds, {**olds, "principal_arn": UNKNOWN}).changes is False
    assert diff("", olds, {**olds, "principal_arn": "b"}).replaces == ["principal_arn"]
