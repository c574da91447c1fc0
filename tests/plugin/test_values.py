import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from castai_stack.plugin import values
from castai_stack.plugin.values import UNKNOWN, UnsupportedValueError

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET = "c44067f5952c0a294b673a41bacd8c17"

NAMES = st.from_regex(r"[a-z]{2,5}(_[a-z]{2,5}){0,3}", fullmatch=True)
SCALARS = st.text(max_size=5) | st.booleans() | st.integers(-(2**53), 2**53)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def struct(content):
    message = struct_pb2.Struct()
    message.update(content)
    return message


@given(st.dictionaries(NAMES, PLAIN, max_size=4), st.sets(NAMES, max_size=2))
def test_properties_survive_the_wire_and_secrets_keep_their_mark(content, secrets):
    message = values.message(content, secrets)

    assert values.properties(message) == content
    assert values.secret_names(message) == secrets & content.keys()


@given(NAMES)
def test_names_are_translated_both_ways(name):
    assert values.snake(values.camel(name)) == name


def test_names_below_the_top_are_data():
    assert values.properties(struct({"objects": {"nodeRole": "x"}})) == {
        "objects": {"nodeRole": "x"}
    }


@pytest.mark.parametrize(
    "sent", [UNKNOWN, {SIGNATURE: OUTPUT}, {SIGNATURE: SECRET, "value": UNKNOWN}]
)
def test_unknown_values_are_recognized_in_every_envelope(sent):
    assert values.is_unknown(values.properties(struct({"name": sent}))["name"])


def test_a_secret_deep_inside_makes_its_property_secret():
    nested = {"objects": {"a": [{SIGNATURE: SECRET, "value": "x"}]}, "mode": "user"}

    assert values.secret_names(struct(nested)) == {"objects"}
    assert values.properties(struct(nested)) == {"objects": {"a": ["x"]}, "mode": "user"}


def test_nulls_are_dropped_and_assets_refused():
    assert values.properties(struct({"context": None})) == {}
    with pytest.raises(UnsupportedValueError, match="assets"):
        values.properties(struct({"name": {SIGNATURE: ASSET, "text": "x"}}))
