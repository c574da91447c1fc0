import pytest
from botocore.loaders import Loader

from castai_stack import arn


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-central-1", "aws"),
        ("us-gov-west-1", "aws-us-gov"),
        ("cn-north-1", "aws-cn"),
        ("eusc-de-east-1", "aws-eusc"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eu-isoe-west-1", "aws-iso-e"),
        ("us-isof-south-1", "aws-iso-f"),
    ],
)
def test_the_partition_follows_the_region(region, partition):
    assert arn.partition(region) == partition


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("arn:aws:iam::012345678901:role/a/b/name", "arn:aws:iam::012345678901:role/name"),
        ("arn:aws:iam::012345678901:role/name", "arn:aws:iam::012345678901:role/name"),
        ("arn:aws-cn:iam::012345678901:role/p/name", "arn:aws-cn:iam::012345678901:role/name"),
        ("arn:aws:iam::012345678901:user/p/name", "arn:aws:iam::012345678901:user/p/name"),
    ],
)
def test_only_the_path_of_a_role_is_dropped(given, expected):
    assert arn.without_path(given) == expected


def test_the_partitions_are_those_of_botocore():
    """botocore's tables are generated from AWS's own; this one must follow them."""
    loader = Loader()
    endpoints = {one["partition"]: one for one in loader.load_data("endpoints")["partitions"]}
    for one in loader.load_data("partitions")["partitions"]:
        own = next(partition for partition in arn.PARTITIONS if partition.name == one["id"])
        for region in one["regions"]:
            if not region.endswith("-global"):
                assert arn.partition(region) == one["id"]
        iam = endpoints[one["id"]]["services"].get("iam", {})
        # Newer partitions stand in endpoints.json without IAM; theirs is in the only region.
        if name := iam.get("partitionEndpoint"):
            assert iam["endpoints"][name]["credentialScope"]["region"] == own.iam_region
        assert arn.partition(own.iam_region) == own.name
    assert len(arn.PARTITIONS) == len(loader.load_data("partitions")["partitions"])


@pytest.mark.parametrize("region", ["", "eu-central", "xx-east-1", "eu-central-1a", "aws-global"])
def test_an_unknown_region_has_no_partition(region):
    with pytest.raises(ValueError, match="no partition of AWS"):
        arn.partition(region)
