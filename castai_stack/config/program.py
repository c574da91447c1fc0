"""Stack configuration: the only module that reads pulumi.Config.

Secrets stay outside the settings, as Outputs; nothing here prints a value that could be one.
"""

import os
from typing import Any

import pulumi
from pulumi.runtime.config import is_config_secret

from castai_stack.config.model import StackConfig
from castai_stack.config.validation import SettingsError, validate

KEY = "castai"
API_KEY = "apiKey"
API_KEY_VARIABLE = "CASTAI_API_KEY"
API_URL_VARIABLE = "CASTAI_API_URL"


class ConfigError(pulumi.RunError):
    """Stack configuration is unusable; the message is the whole story."""


def load(config: pulumi.Config) -> StackConfig:
    """Validate the `castai` object, reporting every problem at once.

    `CASTAI_API_URL` of the environment comes before `api.url`, for every part of the program.
    """
    key = config.full_key(KEY)
    raw: Any = config.require_object(KEY)
    if (url := os.environ.get(API_URL_VARIABLE)) and isinstance(raw, dict):
        raw = {**raw, "api": {**(raw.get("api") or {}), "url": url}}
    try:
        return validate(raw, key, show_values=not is_config_secret(key))
    except SettingsError as error:
        raise ConfigError(str(error)) from None


def api_key(config: pulumi.Config) -> pulumi.Output[str]:
    """Return the CAST AI API key as a secret.

    `CASTAI_API_KEY` of the environment comes before `castai-eks:apiKey`, so that a key that has
    expired can be replaced without an edit. Raises ConfigError when there is neither.
    """
    if key := os.environ.get(API_KEY_VARIABLE):
        return pulumi.Output.secret(key)
    if (secret := config.get_secret(API_KEY)) is not None:
        return secret
    raise ConfigError(
        f"{config.full_key(API_KEY)} is not set; run "
        f"`pulumi config set --secret {API_KEY}`, or set {API_KEY_VARIABLE} in the environment"
    )
