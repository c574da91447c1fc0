"""Stack configuration: the only module that reads pulumi.Config.

Secrets stay outside the model, as Outputs; nothing here prints a value that could be one.
"""

from typing import Literal, Self

import pulumi
from pydantic import Field, ValidationError, model_validator

from castai_stack.settings import Access, Agent, Api, Cluster, Credentials, Iam, Section, Spot

KEY = "castai"
API_KEY = "apiKey"


class ConfigError(pulumi.RunError):
    """Stack configuration is unusable; the message is the whole story."""


class StackConfig(Section):
    """Everything a stack may say."""

    cluster: Cluster
    api: Api = Api()
    credentials: Credentials = Credentials()
    permissions: Literal["scoped", "documented"] = "scoped"
    names: Literal["suffixed", "documented"] = "suffixed"
    iam: Iam = Iam()
    tags: dict[str, str] = Field(default_factory=dict)
    agent: Agent = Agent()
    spot: Spot = Spot()
    access: Access = Access()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.api.register_cluster and self.api.cluster_id is None:
            raise ValueError(
                "api.register is false and api.clusterId is missing; "
                "give the id that the CAST AI console shows, or let this program register"
            )
        return self


def load(config: pulumi.Config) -> StackConfig:
    """Validate the `castai` object, reporting every problem at once."""
    raw = config.require_object(KEY)
    try:
        return StackConfig.model_validate(raw)
    except ValidationError as error:
        lines = [
            f"  {config.full_key(KEY)}.{'.'.join(map(str, e['loc']))}: {e['msg']}"
            for e in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise ConfigError("Invalid stack configuration:\n" + "\n".join(lines)) from None
