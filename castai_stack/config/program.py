"""Configuration of the running stack: the only module that reads pulumi.Config."""

import json
import os
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, get_config, get_config_env, is_config_secret

from castai_stack.config.model import StackConfig
from castai_stack.config.validation import SettingsError, validate
from castai_stack.spot_handler import api_key as api_key_text

KEY = "castai"
API_KEY = "apiKey"
API_KEY_VARIABLE = "CASTAI_API_KEY"
API_URL_VARIABLE = "CASTAI_API_URL"

_UNREAD = {
    "aws:profile": "set AWS_PROFILE in the environment",
    "aws:region": "the region is that of castai.cluster.region",
}
"""Settings of Pulumi's default AWS provider, which this program does not use."""


class ConfigError(pulumi.RunError):
    """The stack configuration is unusable; the message names each problem and what to do."""


def load(config: pulumi.Config) -> StackConfig:
    """Validate the `castai` object. Raises ConfigError with all problems.

    `CASTAI_API_URL` of the environment comes before `api.url`, for every part of the program.
    """
    key = config.full_key(KEY)
    raw = _object(config)
    if (url := os.environ.get(API_URL_VARIABLE)) and isinstance(raw, dict):
        api = raw.get("api")
        if api is None or isinstance(api, dict):
            raw = {**raw, "api": {**(api or {}), "url": url}}
    try:
        return validate(raw, key, show_values=not is_config_secret(key))
    except SettingsError as error:
        raise ConfigError(str(error)) from None


def _object(config: pulumi.Config) -> Any:
    """Parse the `castai` object; the SDK's own errors would show its text."""
    key = config.full_key(KEY)
    text = get_config(key)
    if text is None:
        raise ConfigError(
            f"{key} is not set; write cluster.name, cluster.region and cluster.accountId under it "
            "in the stack file, as docs/configuration.md shows"
        )
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        raise ConfigError(f"{key}: found a text; allowed: a mapping of settings") from None


def api_key(config: pulumi.Config) -> str | None:
    """Return CAST AI's API key, or None when neither place holds one.

    `CASTAI_API_KEY` of the environment comes before `castai-eks:apiKey`, so that an expired key
    can be replaced without an edit. Raises ConfigError, without the value, for an unusable key.
    """
    for name, text in (
        (API_KEY_VARIABLE, os.environ.get(API_KEY_VARIABLE)),
        (config.full_key(API_KEY), get_config(config.full_key(API_KEY))),
    ):
        if text:
            try:
                return api_key_text.clean(str(text))
            except api_key_text.ApiKeyError as error:
                raise ConfigError(f"{name}: {error}") from None
    return None


def missing_key(config: pulumi.Config) -> str:
    """Return the sentence on a missing key, with both ways to set it."""
    return (
        f"{config.full_key(API_KEY)} is not set; run "
        f"`pulumi config set --secret {API_KEY}`, or set {API_KEY_VARIABLE} in the environment"
    )


def unread_settings(config: pulumi.Config) -> list[str]:
    """Return a sentence for each setting of the stack file that has no effect on this program."""
    own = {config.full_key(KEY), config.full_key(API_KEY)}
    lines = []
    for key in sorted({*get_config_env(), *CONFIG.get()} - own):
        namespace = key.partition(":")[0]
        if namespace in {"aws", "kubernetes"}:
            advice = _UNREAD.get(key, "this program configures its providers itself")
            lines.append(f"{key} is set and has no effect: {advice}")
        elif namespace == config.name:
            lines.append(
                f"{key} is set and has no effect: settings belong under {config.full_key(KEY)}"
            )
    return lines
