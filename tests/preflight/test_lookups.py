"""Facts of the cluster, from the description that EKS gives."""

import pytest

from castai_stack.preflight import lookups
from castai_stack.preflight.lookups import AwsLookupError


def described(**more):
    known = {
        "arn": "arn:aws:eks:eu-central-1:012345678901:cluster/demo",
        "status": "ACTIVE",
        "vpcConfig": {"vpcId": "vpc-0123456789abcdef0"},
        "endpoint": "https://demo.eks",
        "certificateAuthorities": [{"data": "Q0E="}],
        "accessConfigs": [{"authenticationMode": "API"}],
    }
    return {**known, **more}


def test_a_cluster_that_is_being_made_has_no_address_yet():
    facts = lookups._facts(described(status="CREATING", endpoint=None, certificateAuthorities=[]))

    assert (facts.status, facts.endpoint, facts.certificate_authority) == ("CREATING", "", "")


def test_an_answer_without_optional_values_is_read():
    bare = {name: described()[name] for name in ("arn", "status", "vpcConfig")}

    facts = lookups._facts(bare)

    assert (facts.endpoint, facts.authentication_mode) == ("", "CONFIG_MAP")


def test_a_cluster_from_before_access_entries_reads_the_map_only():
    assert lookups._facts(described(accessConfigs=[])).authentication_mode == "CONFIG_MAP"
    assert lookups._facts(described()).authentication_mode == "API"


@pytest.mark.parametrize("vpc_config", [None, []])
def test_a_cluster_of_another_provider_is_refused_in_a_sentence(vpc_config):
    with pytest.raises(AwsLookupError, match="which the EKS Connector registered") as caught:
        lookups._facts(described(vpcConfig=vpc_config))

    assert "Correct cluster.name" in str(caught.value)
