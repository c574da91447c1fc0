"""Authentication modes of an EKS cluster and the mapping that each one reads."""

from typing import Literal

AuthenticationMode = Literal["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"]
