"""Facts of the cluster, from the description that EKS gives."""

from types import SimpleNamespace

import pytest

from castai_stack.preflight import lookups
from castai_stack.preflight.lookups import AwsLookupError


def described(**more):
    known = {
        "arn": "arn:aws:eks:eu-central-1:012345678901:cluster/demo",
        "status": "ACTIVE",
        "vpc_config": SimpleNamespace(vpc_id="vpc-0123456789abcdef0"),
        "endpoint": "https://demo.eks",
        "certificate_authorities": [SimpleNamespace(data="Q0E=")],
        "access_configs": [SimpleNamespace(authentication_mode="API")],
    }
    return SimpleNamespace(**{**known, **more})


def test_a_cluster_that_is_being_made_has_no_address_yet():
    facts = lookups._facts(described(status="CREATING", endpoint=None, certificate_authorities=[]))

    assert (facts.status, facts.endpoint, facts.certificate_authority) == ("CREATING", "", "")


def test_a_cluster_from_before_access_entries_reads_the_map_only():
    assert lookups._facts(described(access_configs=[])).authentication_mode == "CONFIG_MAP"
    assert lookups._facts(described()).authentication_mode == "API"


@pytest.mark.parametrize("vpc_config", [None, []])
def test_a_cluster_of_another_provider_is_refused_in_a_sentence(vpc_config):
    with pytest.raises(AwsLookupError, match="which the EKS Connector registered") as caught:
        lookups._facts(described(vpc_config=vpc_config))

    assert "Correct cluster.name" in str(caught.value)
