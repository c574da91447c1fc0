"""The Lambda that reports Spot interruptions to CAST AI, with its rules, queue and alarms."""

import json
from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

import pulumi

from castai_stack import arn, component, naming
from castai_stack import aws_resources as aws
from castai_stack.iam.settings import Iam
from castai_stack.kube.object import KubernetesObject
from castai_stack.spot import alarms, archive, events, objects, rbac
from castai_stack.spot import role as spot_role
from castai_stack.spot.settings import Spot


class SpotLambdaArgs(TypedDict):
    """Inputs of SpotLambdaComponent."""

    partition: str
    region: str
    account_id: str
    cluster_name: str
    cluster_id: pulumi.Input[str]
    """CAST AI's id of the cluster."""
    api_url: str
    api_key: pulumi.Input[str]
    """API key of the function; marked as a secret here."""
    names: naming.Names
    flavour: Literal["scoped", "documented"]
    settings: Spot
    iam: Iam
    tags: Mapping[str, str]
    cluster_endpoint: NotRequired[pulumi.Input[str]]
    """Address of the Kubernetes API, for draining."""
    certificate_authority: NotRequired[pulumi.Input[str]]
    """The cluster's CA, base64 of PEM as EKS returns it, for draining."""


class SpotLambdaComponent(pulumi.ComponentResource):
    """Function, rules, dead-letter queue, log group and alarms of one cluster."""

    function_arn: pulumi.Output[str]
    role_arn: pulumi.Output[str]
    role_unique_id: pulumi.Output[str]

    def __init__(
        self, name: str, args: SpotLambdaArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        if args["settings"].drain:
            _require_cluster(args)
        # The engine stores these inputs as they are: JSON only, and no secret.
        inputs = {"cluster_name": args["cluster_name"], "flavour": args["flavour"]}
        super().__init__("castai-stack:index:SpotLambdaComponent", name, inputs, opts)
        self._name = name
        self._args = args
        self._child = component.child_options(self, opts)

        queue = self._queue()
        rules = self._rules()
        group = aws.LogGroup(
            f"{name}-log-group",
            name=events.log_group(args["names"].function),
            retention_in_days=args["settings"].log_retention_days,
            tags=args["tags"],
            opts=self._child,
        )
        role, grants = self._role()
        secret, version = self._secret()
        function = self._function(
            role, secret, self._after(group, *grants, *([version] if version else []))
        )
        invoke_config = aws.FunctionEventInvokeConfig(
            f"{name}-invoke-config",
            function_name=function.name,
            maximum_event_age_in_seconds=args["settings"].maximum_event_age_seconds,
            maximum_retry_attempts=args["settings"].maximum_retries,
            destination_config={"on_failure": {"destination": queue.arn}},
            opts=self._child,
        )
        self._targets(rules, function, queue, [invoke_config])
        self._alarms(function, queue)
        if args["settings"].drain:
            self._cluster_role()

        self.function_arn = function.arn
        self.role_arn = role.arn
        self.role_unique_id = role.unique_id
        self.register_outputs({"function_arn": self.function_arn, "role_arn": self.role_arn})

    def _after(self, *resources: pulumi.Resource) -> pulumi.ResourceOptions:
        return component.after(self._child, *resources)

    def _rules(self) -> dict[str, aws.EventRule]:
        names = {
            "interruption": self._args["names"].interruption_rule,
            "rebalance": self._args["names"].rebalance_rule,
        }
        return {
            rule.suffix: aws.EventRule(
                f"{self._name}-{rule.suffix}-rule",
                name=names[rule.suffix],
                description=f"{rule.description}, for EKS cluster {self._args['cluster_name']}",
                event_pattern=json.dumps(rule.pattern()),
                tags=self._args["tags"],
                opts=self._child,
            )
            for rule in events.RULES
        }

    def _queue(self) -> aws.Queue:
        """Return the dead-letter queue, which is created before anything else.

        The provider watches a new queue for 25 s. The queue depends on nothing and nothing but the
        targets and the invoke configuration depends on it, so that this time passes while the
        agent starts. Its policy names the rules by ARNs that are known beforehand.
        """
        args = self._args
        names = args["names"]
        rules = [
            self._regional("events", f"rule/{name}")
            for name in (names.interruption_rule, names.rebalance_rule)
        ]
        return aws.Queue(
            f"{self._name}-dead-letters",
            name=names.dead_letter_queue,
            message_retention_seconds=events.DEAD_LETTER_SECONDS,
            sqs_managed_sse_enabled=True,
            policy=json.dumps(events.queue_policy(self._queue_arn(), rules)),
            tags=args["tags"],
            opts=component.child_options(self, None),
        )

    def _queue_arn(self) -> str:
        return self._regional("sqs", self._args["names"].dead_letter_queue)

    def _regional(self, service: str, resource: str) -> str:
        args = self._args
        return arn.regional(
            args["partition"], service, args["region"], args["account_id"], resource
        )

    def _role(self) -> tuple[aws.Role, list[pulumi.Resource]]:
        """Return the function's role with its policies, and the policies.

        Under `scoped`, a boundary reduces the page's three AWS-managed policies to the calls of
        the handler. A role has room for one boundary. If the operator brings one, an inline policy
        of denials imposes the same limit.
        """
        args, scoped = self._args, self._args["flavour"] == "scoped"
        where = (args["partition"], args["region"], args["account_id"])
        secret = (
            events.secret_pattern(*where, args["names"].function)
            if args["settings"].key_in_secrets_manager
            else None
        )
        operator_boundary = args["iam"].permissions_boundary_arn
        boundary = (
            aws.Policy(
                f"{self._name}-boundary",
                name=args["names"].lambda_boundary,
                path=args["iam"].path,
                description=f"Limits the Spot function of EKS cluster {args['cluster_name']}",
                policy=json.dumps(spot_role.lambda_boundary(*where, args["names"], secret)),
                tags=args["tags"],
                opts=self._child,
            )
            if scoped and operator_boundary is None
            else None
        )
        role = aws.Role(
            f"{self._name}-role",
            name=args["names"].lambda_role,
            # As for the node role: a replaced boundary can go only after the role.
            path=boundary.path if boundary else args["iam"].path,
            description="Lambda role used by CAST AI to handle Spot interruptions",
            assume_role_policy=json.dumps(spot_role.lambda_trust()),
            permissions_boundary=boundary.arn if boundary else operator_boundary,
            tags=args["tags"],
            opts=self._child,
        )
        grants: list[pulumi.Resource] = [
            aws.RolePolicyAttachment(
                f"{self._name}-{policy.rsplit('/', 1)[-1]}",
                role=role.name,
                policy_arn=arn.managed_policy(args["partition"], policy),
                opts=self._child,
            )
            for policy in spot_role.LAMBDA_MANAGED
        ]
        inline = {"inline": spot_role.lambda_inline(self._queue_arn(), secret)}
        if scoped and operator_boundary is not None:
            inline["guard"] = spot_role.lambda_guard(*where, args["names"], secret)
        grants += [
            aws.RolePolicy(
                f"{self._name}-{suffix}",
                role=role.name,
                policy=json.dumps(document),
                opts=self._child,
            )
            for suffix, document in inline.items()
        ]
        return role, grants

    def _secret(self) -> tuple[aws.Secret | None, pulumi.Resource | None]:
        args = self._args
        if not args["settings"].key_in_secrets_manager:
            return None, None
        secret = aws.Secret(
            f"{self._name}-api-key",
            name=events.secret_name(args["names"].function),
            description=f"CAST AI API key of the Spot function, {args['cluster_name']}",
            # With a recovery window, a deleted secret blocks its name for days.
            recovery_window_in_days=0,
            tags=args["tags"],
            opts=self._child,
        )
        version = aws.SecretVersion(
            f"{self._name}-api-key-value",
            secret_id=secret.id,
            secret_string=pulumi.Output.secret(args["api_key"]),
            # Versions have no chosen name. Deleted last, the old one loses its stage AWSPREVIOUS,
            # and nobody can read the old key.
            opts=pulumi.ResourceOptions.merge(
                self._child, pulumi.ResourceOptions(delete_before_replace=False)
            ),
        )
        return secret, version

    def _function(
        self,
        role: aws.Role,
        secret: aws.Secret | None,
        opts: pulumi.ResourceOptions,
    ) -> aws.Function:
        args, settings = self._args, self._args["settings"]
        sources: dict[str, pulumi.Asset | pulumi.Archive] = {
            name: pulumi.StringAsset(text) for name, text in archive.sources().items()
        }
        return aws.Function(
            f"{self._name}-function",
            name=args["names"].function,
            description=f"Tells CAST AI of Spot interruptions, EKS cluster {args['cluster_name']}",
            role=role.arn,
            runtime=archive.RUNTIME,
            handler=archive.HANDLER,
            architectures=[settings.architecture],
            memory_size=settings.memory_mb,
            timeout=settings.timeout_seconds,
            reserved_concurrent_executions=settings.reserved_concurrency,
            code=pulumi.AssetArchive({archive.FOLDER: pulumi.AssetArchive(sources)}),
            environment={"variables": self._environment(secret)},
            tags=args["tags"],
            opts=pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(
                    additional_secret_outputs=["environment"],
                    # Lambda's key grant for the environment names the role's unique id, so that a
                    # function cannot start under a role that was created again by the same name:
                    # https://www.lastweekinaws.com/blog/the-sneaky-weakness-behind-aws-managed-kms-keys/
                    replacement_trigger=role.unique_id,
                ),
            ),
        )

    def _environment(self, secret: aws.Secret | None) -> dict[str, pulumi.Input[str]]:
        """Return the handler's settings; the state encrypts the key, Lambda all of them."""
        args, settings = self._args, self._args["settings"]
        variables: dict[str, pulumi.Input[str]] = {
            "CLUSTER_NAME": args["cluster_name"],
            "CLUSTER_ID": args["cluster_id"],
            "CASTAI_API_URL": args["api_url"],
            "MAXIMUM_EVENT_AGE_SECONDS": str(events.oldest_age(settings.maximum_event_age_seconds)),
        }
        if secret is None:
            variables["CASTAI_API_KEY"] = pulumi.Output.secret(args["api_key"])
        else:
            variables["CASTAI_API_KEY_SECRET_ARN"] = secret.arn
        if settings.drain:
            variables["DRAIN"] = "true"
            variables["CLUSTER_ENDPOINT"] = args.get("cluster_endpoint", "")
            variables["CLUSTER_CERTIFICATE_AUTHORITY"] = args.get("certificate_authority", "")
        return variables

    def _targets(
        self,
        rules: Mapping[str, aws.EventRule],
        function: aws.Function,
        queue: aws.Queue,
        ready: list[pulumi.Resource],
    ) -> None:
        """Create the targets once the rules may invoke the function and failures have a queue."""
        for suffix, rule in rules.items():
            permission = aws.Permission(
                f"{self._name}-{suffix}-permission",
                action="lambda:InvokeFunction",
                function=function.name,
                principal="events.amazonaws.com",
                source_arn=rule.arn,
                statement_id=objects.statement_id(suffix),
                opts=self._child,
            )
            aws.EventTarget(
                f"{self._name}-{suffix}-target",
                rule=rule.name,
                target_id=events.TARGET_ID,
                arn=function.arn,
                retry_policy={
                    "maximum_event_age_in_seconds": events.DELIVERY_SECONDS,
                    "maximum_retry_attempts": events.DELIVERY_ATTEMPTS,
                },
                dead_letter_config={"arn": queue.arn},
                opts=self._after(permission, *ready),
            )

    def _alarms(self, function: aws.Function, queue: aws.Queue) -> None:
        args = self._args
        topic = args["settings"].alarm_topic_arn
        dimensions: dict[str, dict[str, pulumi.Input[str]]] = {
            "AWS/Lambda": {"FunctionName": function.name},
            "AWS/SQS": {"QueueName": queue.name},
        }
        for alarm in alarms.ALARMS:
            aws.MetricAlarm(
                f"{self._name}-{alarm.suffix}-alarm",
                name=alarms.alarm_name(args["names"].function, alarm),
                alarm_description=f"{alarm.description}. EKS cluster {args['cluster_name']}.",
                namespace=alarm.namespace,
                metric_name=alarm.metric,
                dimensions=dimensions[alarm.namespace],
                statistic=alarm.statistic,
                comparison_operator="GreaterThanThreshold",
                threshold=alarm.threshold,
                period=alarms.ALARM_PERIOD_SECONDS,
                evaluation_periods=1,
                treat_missing_data="notBreaching",
                alarm_actions=[topic] if topic else [],
                ok_actions=[topic] if topic else [],
                tags=args["tags"],
                opts=self._child,
            )

    def _cluster_role(self) -> None:
        """Create the cluster role for draining, and its binding to the mapped group."""
        role = KubernetesObject(f"{self._name}-cluster-role", rbac.cluster_role(), self._child)
        KubernetesObject(
            f"{self._name}-cluster-role-binding",
            rbac.cluster_role_binding(),
            self._after(role),
        )


def _require_cluster(args: SpotLambdaArgs) -> None:
    needed = ("cluster_endpoint", "certificate_authority")
    missing = [name for name in needed if args.get(name, "") == ""]
    if missing:
        raise ValueError(
            f"spot.drain is on and {' and '.join(missing)} of cluster {args['cluster_name']} "
            "is missing; draining needs the address and the CA of the Kubernetes API"
        )
