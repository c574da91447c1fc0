"""The evaluator against what AWS publishes: each case restates an example of the page it names.

Pages without an address are of https://docs.aws.amazon.com/IAM/latest/UserGuide/.
"""

import json

import pytest

from sandbox.aws.policies import Policy, Verdict, evaluate
from sandbox.iam_evaluator import (
    Request,
    UnsupportedConditionError,
    decide,
    may,
    may_assume,
    may_call,
)


def policy(*statements, version="2012-10-17"):
    return {"Version": version, "Statement": list(statements)}


def allow(action="s3:GetObject", resource="*", condition=None, **more):
    return {
        "Effect": "Allow",
        "Action": action,
        "Resource": resource,
        "Condition": condition or {},
        **more,
    }


def deny(action="*", resource="*", condition=None):
    return {**allow(action, resource, condition), "Effect": "Deny"}


def holds(condition, **context):
    keys = {key.replace("__", ":", 1).replace("__", "/"): v for key, v in context.items()}
    return may([policy(allow(condition=condition))], Request("s3:GetObject", "*", keys))


# reference_policies_evaluation-logic.html: denied unless allowed; a denial beats every allowance.
def test_a_request_that_no_statement_allows_is_denied():
    assert decide([policy(allow("s3:ListBucket"))], Request("s3:GetObject", "*")) == "implicit deny"


def test_a_deny_overrides_an_allow_in_any_order():
    request = Request("s3:GetObject", "arn:aws:s3:::b/x")
    for policies in (
        [policy(allow(), deny("s3:*"))],
        [policy(deny("s3:*")), policy(allow())],
    ):
        assert decide(policies, request) == "explicit deny"


# access_policies_boundaries.html: a boundary grants nothing, and what it leaves out is refused
# (the page's ShirleyRodriguez: the boundary has S3, CloudWatch and EC2, the policy IAM).
def test_a_permission_needs_both_the_policy_and_the_boundary():
    boundary = policy(allow(["s3:*", "cloudwatch:*", "ec2:*"]))
    create_user = Request("iam:CreateUser", "arn:aws:iam::123456789012:user/x")
    assert may([policy(allow("iam:CreateUser"))], create_user)
    assert not may([policy(allow("iam:CreateUser"))], create_user, [boundary])
    assert not may([], Request("s3:GetObject", "*"), [boundary])
    assert may([policy(allow("s3:*"))], Request("s3:GetObject", "*"), [boundary])


def test_a_denial_in_the_boundary_refuses():
    boundary = policy(allow("*"), deny("s3:DeleteBucket"))
    assert not may([policy(allow("*"))], Request("s3:DeleteBucket", "*"), [boundary])


# reference_policies_elements_action.html: actions ignore case and know * and ?.
@pytest.mark.parametrize(
    ("pattern", "action", "expected"),
    [
        ("iam:*AccessKey*", "iam:CreateAccessKey", True),
        ("iam:*AccessKey*", "iam:GetAccessKeyLastUsed", True),
        ("iam:*AccessKey*", "iam:CreateUser", False),
        ("IAM:listaccesskeys", "iam:ListAccessKeys", True),
        ("ec2:Describe?pcs", "ec2:DescribeVpcs", True),
        ("*", "anything:AtAll", True),
    ],
)
def test_actions_are_matched_without_case_and_with_wildcards(pattern, action, expected):
    assert may([policy(allow(pattern))], Request(action, "*")) is expected


# reference_policies_elements_notaction.html: with Allow it grants all but the listed, with Deny it
# refuses all but the listed (the page's MFA example).
def test_not_action_means_every_other_action():
    all_but_iam = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}
    assert may([policy(all_but_iam)], Request("ec2:RunInstances", "*"))
    assert not may([policy(all_but_iam)], Request("iam:CreateUser", "*"))
    without_mfa = {
        "Effect": "Deny",
        "NotAction": "iam:*",
        "Resource": "*",
        "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}},
    }
    policies = [policy(allow("*"), without_mfa)]
    assert not may(policies, Request("ec2:RunInstances", "*"))
    assert may(policies, Request("ec2:RunInstances", "*", {"aws:MultiFactorAuthPresent": "true"}))
    assert may(policies, Request("iam:CreateUser", "*"))


# reference_policies_elements_notresource.html: a denial for everything but one bucket.
def test_not_resource_means_every_other_resource():
    only_hr = {
        "Effect": "Deny",
        "Action": "s3:*",
        "NotResource": ["arn:aws:s3:::hr", "arn:aws:s3:::hr/*"],
    }
    policies = [policy(allow("s3:*"), only_hr)]
    assert may(policies, Request("s3:GetObject", "arn:aws:s3:::hr/x"))
    assert not may(policies, Request("s3:GetObject", "arn:aws:s3:::pay/x"))


# reference_policies_elements_resource.html
@pytest.mark.parametrize(
    ("pattern", "resource", "expected"),
    [
        ("arn:aws:iam::123456789012:user/*", "arn:aws:iam::123456789012:user/a/b", True),
        ("arn:aws:iam::123456789012:user/?", "arn:aws:iam::123456789012:user/ab", False),
        ("arn:aws:s3:::bucket/*/test/*", "arn:aws:s3:::bucket/1/2/test/x", True),
        ("arn:aws:sqs:us-east-2:1:queue1", "arn:aws:sqs:us-east-2:1:Queue1", False),
    ],
)
def test_resources_are_matched_with_case_and_with_wildcards(pattern, resource, expected):
    assert may([policy(allow(resource=pattern))], Request("s3:GetObject", resource)) is expected


# reference_policies_elements_condition.html: several keys must all match, one of several values.
def test_every_condition_must_hold_and_one_of_its_values():
    both = {"StringEquals": {"aws:PrincipalTag/a": ["1", "2"], "aws:PrincipalTag/b": "3"}}
    assert holds(both, aws__PrincipalTag__a="2", aws__PrincipalTag__b="3")
    assert not holds(both, aws__PrincipalTag__a="2")
    assert not holds(both, aws__PrincipalTag__a="3", aws__PrincipalTag__b="3")


# reference_policies_elements_condition_operators.html: of a negated operator no value may match.
def test_a_negated_operator_refuses_each_of_its_values():
    neither = {"StringNotEquals": {"aws:PrincipalTag/a": ["1", "2"]}}
    assert not holds(neither, aws__PrincipalTag__a="2")
    assert holds(neither, aws__PrincipalTag__a="3")


# Same page: a missing key fails a positive operator and satisfies a negated one.
@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("StringEquals", False),
        ("StringEqualsIgnoreCase", False),
        ("StringLike", False),
        ("ArnEquals", False),
        ("ArnLike", False),
        ("StringNotEquals", True),
        ("StringNotEqualsIgnoreCase", True),
        ("StringNotLike", True),
        ("ArnNotEquals", True),
        ("ArnNotLike", True),
    ],
)
def test_a_missing_key_fails_equals_and_passes_not_equals(operator, expected):
    assert holds({operator: {"aws:SourceArn": "arn:aws:s3:::x"}}) is expected


@pytest.mark.parametrize("operator", ["Bool", "NumericEquals", "DateLessThan", "IpAddress"])
def test_a_missing_key_fails_every_other_positive_operator(operator):
    assert not holds({operator: {"aws:SourceArn": "1"}})


# Same page, "...IfExists": absent passes, present must match.
def test_if_exists_passes_an_absent_key_and_judges_a_present_one():
    types = {"StringLikeIfExists": {"ec2:InstanceType": ["t1.*", "t2.*", "m3.*"]}}
    assert holds(types)
    assert holds(types, ec2__InstanceType="t2.micro")
    assert not holds(types, ec2__InstanceType="c4.large")


# Same page, "Null": true means the key must be absent.
def test_null_asks_for_absence_or_presence():
    assert holds({"Null": {"aws:TokenIssueTime": "true"}})
    assert not holds({"Null": {"aws:TokenIssueTime": "true"}}, aws__TokenIssueTime="1")
    assert holds({"Null": {"aws:TokenIssueTime": "false"}}, aws__TokenIssueTime="1")
    assert not holds({"Null": {"aws:TokenIssueTime": "false"}})


# Same page: string operators.
@pytest.mark.parametrize(
    ("operator", "value", "wanted", "expected"),
    [
        ("StringEquals", "queue", "Queue", False),
        ("StringEquals", "a*", "a*", True),
        ("StringEquals", "ab", "a*", False),
        ("StringEqualsIgnoreCase", "queue", "Queue", True),
        ("StringNotEqualsIgnoreCase", "queue", "Queue", False),
        ("StringLike", "home/abc", "home/*", True),
        ("StringLike", "Home/abc", "home/*", False),
        ("StringNotLike", "home/abc", "home/*", False),
    ],
)
def test_strings_compare_as_their_operator_says(operator, value, wanted, expected):
    assert holds({operator: {"aws:PrincipalTag/x": wanted}}, aws__PrincipalTag__x=value) is expected


# Same page: ArnEquals and ArnLike behave alike, part by part.
@pytest.mark.parametrize("operator", ["ArnEquals", "ArnLike"])
@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        ("arn:aws:sns:us-east-2:1:topic", "arn:aws:sns:*:1:*", True),
        ("arn:aws:sns:us-east-2:2:topic", "arn:aws:sns:*:1:*", False),
        ("arn:aws:sns:a:b:c:d", "arn:aws:sns:*:c:d", False),
        ("topic", "*", False),
    ],
)
def test_arns_are_compared_part_by_part(operator, value, wanted, expected):
    assert holds({operator: {"aws:SourceArn": wanted}}, aws__SourceArn=value) is expected


# Same page: numeric, date, boolean and address operators.
@pytest.mark.parametrize(
    ("operator", "value", "wanted", "expected"),
    [
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "9", "10", False),
        ("NumericNotEquals", "9", "10", True),
        ("DateGreaterThan", "2020-01-01T00:00:01Z", "2020-01-01T00:00:00Z", True),
        ("DateLessThanEquals", "1577836800", "2020-01-01T00:00:00Z", True),
        ("DateNotEquals", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z", False),
        ("Bool", "TRUE", "true", True),
        ("Bool", "false", "true", False),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", True),
        ("IpAddress", "203.0.113.9", "203.0.113.0/24", True),
        ("IpAddress", "203.0.114.9", "203.0.113.0/24", False),
        ("NotIpAddress", "2001:db8:1234:5678::1", "2001:DB8:1234:5678::/64", False),
    ],
)
def test_other_values_compare_as_their_operator_says(operator, value, wanted, expected):
    assert holds({operator: {"aws:x": wanted}}, aws__x=value) is expected


# reference_policies_condition-single-vs-multi-valued-context-keys.html: tag keys of a request,
# every one or at least one of them; ForAllValues is also true of a request without any.
def test_for_all_values_needs_every_value_and_passes_an_absent_key():
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": ["environment", "cost-center"]}}
    assert holds(only, aws__TagKeys=("environment",))
    assert holds(only, aws__TagKeys=("environment", "cost-center"))
    assert not holds(only, aws__TagKeys=("environment", "dept"))
    assert holds(only), "an empty set has no value that differs"
    assert holds(only, aws__TagKeys=())
    present = {**only, "Null": {"aws:TagKeys": "false"}}
    assert not holds(present)


def test_for_any_value_needs_one_value_and_fails_an_absent_key():
    some = {"ForAnyValue:StringEquals": {"aws:TagKeys": ["environment", "cost-center"]}}
    assert holds(some, aws__TagKeys=("environment", "dept"))
    assert not holds(some, aws__TagKeys=("dept",))
    assert not holds(some)


def test_a_negated_set_operator_judges_value_by_value():
    none = {"ForAllValues:StringNotEquals": {"aws:TagKeys": ["webserver", "db"]}}
    assert holds(none, aws__TagKeys=("dept",))
    assert not holds(none, aws__TagKeys=("dept", "db"))
    some = {"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["webserver", "db"]}}
    assert holds(some, aws__TagKeys=("dept", "db"))
    assert not holds(some, aws__TagKeys=("webserver", "db"))


def test_a_multi_valued_key_without_a_set_operator_is_an_error():
    with pytest.raises(ValueError, match="needs ForAllValues or ForAnyValue"):
        holds({"StringEquals": {"aws:TagKeys": "x"}}, aws__TagKeys=("x",))


def test_an_unknown_operator_is_an_error():
    with pytest.raises(UnsupportedConditionError, match="StringMatches"):
        holds({"StringMatches": {"aws:x": "y"}}, aws__x="y")


# reference_policies_condition-keys.html: names of keys ignore case, and so do those of tags; of
# two tags that differ in case only, neither is matched.
def test_keys_compare_without_case_and_values_with_it():
    tag = {"StringEquals": {"aws:ResourceTag/TagKey1": "Value1"}}
    assert holds(tag, AWS__resourcetag__tagkey1="Value1")
    assert not holds(tag, aws__ResourceTag__TagKey1="value1")
    assert not holds(tag, aws__ResourceTag__TagKey1="Value1", aws__ResourceTag__tagkey1="Value1")


# reference_policies_variables.html
@pytest.mark.parametrize(
    ("resource", "context", "expected"),
    [
        ("arn:aws:s3:::b/${aws:username}/*", {"aws:username": "ana"}, True),
        ("arn:aws:s3:::b/${aws:username}/*", {"aws:username": "bob"}, False),
        ("arn:aws:s3:::b/${aws:username}/*", {"aws:username": "*"}, False),
        ("arn:aws:s3:::b/${aws:username}/*", {}, False),
        ("arn:aws:s3:::b/${aws:username, 'ana'}/*", {}, True),
        ("arn:aws:s3:::b/${*}/*", {}, False),
    ],
)
def test_policy_variables_are_filled_in_before_matching(resource, context, expected):
    request = Request("s3:GetObject", "arn:aws:s3:::b/ana/x", context)
    assert may([policy(allow(resource=resource))], request) is expected


def test_policy_variables_work_in_conditions_and_keep_wildcards_literal_for_equals():
    own = {"StringEquals": {"aws:ResourceTag/owner": "${aws:username}"}}
    assert holds(own, aws__username="ana", aws__ResourceTag__owner="ana")
    assert not holds(own, aws__username="ana", aws__ResourceTag__owner="bob")
    like = {"StringLike": {"s3:prefix": "${aws:username}/*"}}
    assert holds(like, aws__username="ana", s3__prefix="ana/x")


def test_the_old_version_of_the_language_knows_no_variables():
    old = policy(allow(resource="arn:aws:s3:::b/${aws:username}"), version="2008-10-17")
    request = Request("s3:GetObject", "arn:aws:s3:::b/ana", {"aws:username": "ana"})
    assert not may([old], request)


# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html, launching into one
# subnet: a launch is judged on each of its resources, and one refusal refuses the call.
def test_a_launch_is_judged_resource_by_resource():
    subnet = "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-12345678"
    others = ["instance/*", "volume/*", "network-interface/*", "security-group/*", "key-pair/*"]
    prefix = "arn:aws:ec2:us-east-1:123456789012:"
    policies = [
        policy(
            allow(
                "ec2:RunInstances",
                [subnet, "arn:aws:ec2:us-east-1::image/ami-*", *(prefix + o for o in others)],
            )
        )
    ]
    parts = [subnet, "arn:aws:ec2:us-east-1::image/ami-1", f"{prefix}instance/*"]
    assert may_call(policies, [Request("ec2:RunInstances", part) for part in parts])
    parts[0] = f"{prefix}subnet/subnet-87654321"
    assert not may_call(policies, [Request("ec2:RunInstances", part) for part in parts])


# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html: tags may
# be set by RunInstances only.
def test_create_action_limits_tagging_to_the_creating_call():
    policies = [
        policy(
            allow(
                "ec2:CreateTags",
                "arn:aws:ec2:us-east-1:123456789012:*/*",
                {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
            )
        )
    ]
    instance = "arn:aws:ec2:us-east-1:123456789012:instance/i-1"
    result = Request("ec2:CreateTags", instance, {"ec2:CreateAction": "RunInstances"})
    assert may(policies, result)
    assert not may(policies, Request("ec2:CreateTags", instance))


# id_roles_common-scenarios_third-party.html: a third party comes in with its external id only.
def test_a_trust_policy_with_an_external_id_refuses_any_other_and_none():
    trust = policy(
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "12345"}},
        }
    )

    def assume(principal, **context):
        keys = {key.replace("__", ":"): value for key, value in context.items()}
        return may_assume(trust, "AWS", principal, Request("sts:AssumeRole", "*", keys))

    third_party = "arn:aws:iam::111122223333:root"
    assert assume(third_party, sts__ExternalId="12345")
    assert not assume(third_party, sts__ExternalId="54321")
    assert not assume(third_party)
    assert not assume("arn:aws:iam::444455556666:root", sts__ExternalId="12345")


# The sandbox's AWS asks through `sandbox.aws.policies`, with documents as text and values as lists.
def verdict(*documents, boundary=None, **context) -> Verdict:
    named = [Policy(f"p{n}", json.dumps(one)) for n, one in enumerate(documents)]
    limit = Policy("limit", json.dumps(boundary)) if boundary else None
    keys = {key.replace("__", ":"): values for key, values in context.items()}
    return evaluate(named, limit, "s3:GetObject", "arn:aws:s3:::b/x", keys)


def test_the_sandbox_reports_the_policies_that_decided_and_the_keys_that_were_missing():
    of_jane = policy(allow(condition={"StringEquals": {"aws:UserName": "jane"}}))

    allowed = verdict(policy(allow("s3:Put*")), of_jane, aws__username=["jane"])
    assert (allowed.decision, [one.name for one in allowed.matched]) == ("allowed", ["p1"])
    assert allowed.missing == ()

    refused = verdict(of_jane)
    assert (refused.decision, refused.missing) == ("implicitDeny", ("aws:UserName",))

    denied = verdict(policy(allow()), policy(deny("s3:*")))
    assert (denied.decision, [one.name for one in denied.matched]) == ("explicitDeny", ["p1"])


def test_the_sandbox_reports_the_boundary_that_refused():
    limited = verdict(policy(allow("*")), boundary=policy(allow("ec2:*")))

    assert (limited.decision, limited.boundary) == ("implicitDeny", "implicitDeny")


def test_the_sandbox_reads_several_values_as_a_multi_valued_key():
    def tagged(operator):
        return policy(allow(condition={operator: {"aws:TagKeys": ["a", "b"]}}))

    assert verdict(tagged("ForAllValues:StringEquals"), aws__tagkeys=["a", "b"]).matched
    assert not verdict(tagged("ForAllValues:StringEquals"), aws__tagkeys=["a", "c"]).matched
    with pytest.raises(UnsupportedConditionError, match="aws:TagKeys is multi-valued"):
        verdict(tagged("StringEquals"), aws__tagkeys=["a", "b"])
