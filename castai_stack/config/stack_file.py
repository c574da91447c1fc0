"""Settings straight from a Pulumi stack file, for commands that need no engine, cloud or secret."""

from pathlib import Path

import yaml

from castai_stack.config.model import StackConfig
from castai_stack.config.validation import SettingsError, validate

KEY = "castai-eks:castai"


def read(path: Path) -> StackConfig:
    """Return the settings of a stack file.

    Raises SettingsError when the file is no stack file, or with all problems of its settings.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not a text file; name a stack file") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a stack file") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise SettingsError(f"{path}: not YAML{line}; mend it, or name another file") from None
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict) or KEY not in config:
        raise SettingsError(
            f"{path}: there is no {KEY} under config; name a stack file of this program"
        )
    return validate(config[KEY], KEY)
