"""Values that a preview does not know yet, as the host of dynamic resources hands them over."""

from pulumi.output import Unknown
from pulumi.runtime.rpc import UNKNOWN


def is_unknown(value: object) -> bool:
    """Tell whether the engine will know this value only later.

    The SDK spells it as a string on the wire and as an object of its own in `check` and `diff`.
    """
    return isinstance(value, Unknown) or value == UNKNOWN
