import pytest

from castai_stack import arn


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-central-1", "aws"),
        ("us-gov-west-1", "aws-us-gov"),
        ("cn-north-1", "aws-cn"),
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
