"""Everything in the account by kind, name and content, to compare before with after.

What changes by itself (dates, ids that AWS draws) stays out; secrets appear as hashes.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.aws import backends
from sandbox.aws.account import Account
from sandbox.aws.eks import redacted
from sandbox.aws.identities import digest
from sandbox.constants import ACCOUNT, PARTITION, REGION

Things = dict[str, dict[str, Any]]


def inventory(account: Account, region: str = REGION) -> Things:
    """Content by name by kind."""
    return {
        **_iam(),
        **_functions(region),
        **_events(region),
        **_watching(region),
        **_storage(region),
        **_machines(region),
        **_clusters(account, region),
    }


def _document(text: str) -> Any:
    return json.loads(text)


def _tags(tags: Any) -> dict[str, str]:
    if isinstance(tags, Mapping):
        return {
            key: value["Value"] if isinstance(value, Mapping) else value
            for key, value in sorted(tags.items())
        }
    return {tag["Key"]: tag["Value"] for tag in sorted(tags or [], key=lambda tag: tag["Key"])}


def _owner(thing: Any) -> dict[str, Any]:
    return {
        "arn": thing.arn,
        "inline": {name: _document(text) for name, text in sorted(thing.policies.items())},
        "attached": sorted(thing.managed_policies),
        "boundary": getattr(thing, "permissions_boundary_arn", None),
        "tags": _tags(thing.tags),
    }


def _iam() -> Things:
    iam = backends.iam()
    own = f"arn:{PARTITION}:iam::{ACCOUNT}:"
    return {
        "iam-user": {user.name: _owner(user) for user in iam.users.values()},
        "iam-access-key": {
            key.access_key_id: {
                "user": user.name,
                "status": key.status,
                "secret": digest(key.secret_access_key),
            }
            for user in iam.users.values()
            for key in user.access_keys
        },
        "iam-role": {
            role.name: {
                **_owner(role),
                "trust": _document(role.assume_role_policy_document),
                "description": role.description,
                "maxSessionDuration": role.max_session_duration,
            }
            for role in iam.roles.values()
        },
        "iam-policy": {
            policy.name: {
                "arn": policy.arn,
                "description": policy.description,
                "default": policy.default_version_id,
                "versions": {v.version_id: _document(v.document) for v in policy.versions},
                "tags": _tags(policy.tags),
            }
            for arn, policy in iam.managed_policies.items()
            if arn.startswith(own)
        },
        "iam-instance-profile": {
            profile.name: {
                "arn": profile.arn,
                "roles": [role.name for role in profile.roles],
                "tags": _tags(profile.tags),
            }
            for profile in iam.instance_profiles.values()
        },
    }


def _functions(region: str) -> Things:
    functions = backends.backend("lambda", region)
    contents = {}
    for function in functions.list_functions(func_version=None):
        configuration = function.get_configuration()
        configuration.pop("LastModified", None)
        variables = (configuration.pop("Environment", None) or {}).get("Variables", {})
        configs = function.event_invoke_config
        contents[function.function_name] = {
            **configuration,
            **function.__dict__.get("sandbox_extras", {}),
            "Environment": {name: digest(value) for name, value in sorted(variables.items())},
            "Tags": _tags(function.tags),
            "Policy": sorted(function.policy.statements, key=lambda s: str(s.get("Sid"))),
            "EventInvokeConfig": configs[-1].config if configs else None,
        }
    return {"lambda-function": contents}


def _events(region: str) -> Things:
    backend = backends.backend("events", region)
    return {
        "events-rule": {
            f"{bus.name}/{rule.name}": {
                "pattern": _document(rule.event_pattern.dump() or "null"),
                "schedule": rule.scheduled_expression,
                "state": rule.state,
                "description": rule.description,
                "targets": sorted(rule.targets, key=lambda target: target["Id"]),
                "tags": _tags(backend.tagger.get_tag_dict_for_resource(rule.arn)),
            }
            for bus in backend.event_buses.values()
            for rule in bus.rules.values()
        }
    }


def _watching(region: str) -> Things:
    logs, watch = backends.backend("logs", region), backends.backend("cloudwatch", region)
    return {
        "logs-group": {
            group.name: {
                "retention": group.retention_in_days,
                "key": group.kms_key_id,
                "tags": _tags(logs.tagger.get_tag_dict_for_resource(group.arn)),
            }
            for group in logs.groups.values()
        },
        "cloudwatch-alarm": {
            alarm.name: {
                "metric": f"{alarm.namespace}/{alarm.metric_name}",
                "dimensions": {d.name: d.value for d in alarm.dimensions},
                "comparison": alarm.comparison_operator,
                "threshold": alarm.threshold,
                "statistic": alarm.statistic,
                "period": alarm.period,
                "evaluationPeriods": alarm.evaluation_periods,
                "missing": alarm.treat_missing_data,
                "actions": list(alarm.alarm_actions or []),
                "description": alarm.description,
                "tags": _tags(watch.tagger.get_tag_dict_for_resource(alarm.alarm_arn)),
            }
            for alarm in watch.alarms.values()
        },
    }


_QUEUE = (
    "DelaySeconds", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy", "SqsManagedSseEnabled", "VisibilityTimeout", "KmsMasterKeyId",
)  # fmt: skip


def _storage(region: str) -> Things:
    queues, secrets = backends.backend("sqs", region), backends.backend("secretsmanager", region)
    return {
        "sqs-queue": {
            queue.name: {
                **{name: value for name, value in queue.attributes.items() if name in _QUEUE},
                "policy": _document(queue.attributes.get("Policy") or "null"),
                "tags": _tags(queue.tags),
            }
            for queue in queues.queues.values()
        },
        "secretsmanager-secret": {
            secret.name: {
                "description": secret.description,
                "deleted": secret.deleted_date is not None,
                "value": _secret_value(secret),
                "tags": _tags(secret.tags),
            }
            for secret in secrets.secrets.values()
        },
    }


def _secret_value(secret: Any) -> str | None:
    for version in secret.versions.values():
        if "AWSCURRENT" in version["version_stages"]:
            return digest(version.get("secret_string") or version.get("secret_binary") or "")
    return None


def _machines(region: str) -> Things:
    ec2 = backends.backend("ec2", region)
    instances: Iterable[Any] = (
        instance
        for reservation in ec2.reservations.values()
        for instance in reservation.instances
        if instance._state.name != "terminated"  # noqa: SLF001 - moto's own spelling
    )
    return {
        "ec2-instance": {
            instance.id: {
                "type": instance.instance_type,
                "lifecycle": getattr(instance, "lifecycle", None) or "on-demand",
                "subnet": instance.subnet_id,
                "state": instance._state.name,  # noqa: SLF001
                "tags": _tags({t["key"]: t["value"] for t in instance.get_tags()}),
            }
            for instance in instances
        },
        "ec2-security-group": {
            group.id: {
                "name": group.name,
                "description": group.description,
                "vpc": vpc,
                "ingress": [_rule(rule) for rule in group.ingress_rules],
                "egress": [_rule(rule) for rule in group.egress_rules],
                "tags": _tags({t["key"]: t["value"] for t in group.get_tags()}),
            }
            for vpc, groups in ec2.groups.items()
            for group in groups.values()
        },
        "ec2-key-pair": {
            pair.name: {"fingerprint": pair.fingerprint} for pair in ec2.key_pairs.values()
        },
        "ec2-vpc": {
            vpc.id: {
                "cidr": vpc.cidr_block,
                "tags": _tags({t["key"]: t["value"] for t in vpc.get_tags()}),
            }
            for vpc in ec2.vpcs.values()
        },
        "ec2-subnet": {
            subnet.id: {
                "cidr": subnet.cidr_block,
                "vpc": subnet.vpc_id,
                "tags": _tags({t["key"]: t["value"] for t in subnet.get_tags()}),
            }
            for by_zone in ec2.subnets.values()
            for subnet in by_zone.values()
        },
    }


def _rule(rule: Any) -> dict[str, Any]:
    return {
        "protocol": rule.ip_protocol,
        "from": rule.from_port,
        "to": rule.to_port,
        "range": rule.ip_range,
        "group": rule.source_group,
    }


def _clusters(account: Account, region: str) -> Things:
    described = backends.backend("eks", region).clusters
    clusters, entries = {}, {}
    for name, cluster in described.items():
        extras = account.cluster(region, name)
        clusters[name] = {
            "arn": cluster.arn,
            "status": cluster.status,
            "role": cluster.role_arn,
            "network": cluster.resources_vpc_config,
            "tags": _tags(cluster.tags),
            **redacted(extras),
        }
        for arn, entry in extras.entries.items():
            entries[f"{name}/{arn}"] = {
                "type": entry.type,
                "username": entry.username,
                "groups": entry.groups,
                "policies": {a: p["accessScope"] for a, p in sorted(entry.policies.items())},
                "tags": _tags(entry.tags),
            }
    return {"eks-cluster": clusters, "eks-access-entry": entries}
