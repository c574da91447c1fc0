"""What other languages see of the components."""

import json
from pathlib import Path

import pytest
from pulumi.provider.experimental.util import camel_case
from pulumi.runtime.proto import provider_pb2

from castai_stack.components import host
from castai_stack.components.arguments import ArgumentError
from castai_stack.plugin.run import ResourceError
from castai_stack.plugin.server import schema as resource_schema
from castai_stack.stack.resource_types import RESOURCE_TYPES
from tests.support import typed_settings

GOLDEN = Path(__file__).parents[2] / "castai_stack" / "components" / "schema.json"
SCHEMA = json.loads(GOLDEN.read_text())


def properties(schema):
    for kind in ("resources", "types"):
        for token, one in schema[kind].items():
            for part in ("inputProperties", "properties"):
                for name, property_ in one.get(part, {}).items():
                    yield f"{token} {part} {name}", property_


def test_the_analyzer_of_pulumi_accepts_every_component():
    """A change here changes the SDKs of other programs; `make readme` writes the file."""
    assert host.schema() == GOLDEN.read_text()


def test_every_component_type_and_property_is_described():
    described = [*SCHEMA["resources"].values(), *SCHEMA["types"].values()]

    assert [place for place, one in properties(SCHEMA) if not one.get("description")] == []
    assert all(one["description"] for one in described)


def test_a_setting_that_is_one_of_several_texts_is_an_enumeration_of_them():
    """A program in another language is checked before it runs."""
    mode = SCHEMA["types"]["castai-stack:index:CredentialsSettings"]["properties"]["mode"]
    assert mode["$ref"] == "#/types/castai-stack:index:CredentialsMode"
    for model in typed_settings.models():
        settings = SCHEMA["types"].get(f"castai-stack:index:{model.__name__}Settings", {})
        for key, property_ in settings.get("properties", {}).items():
            (field,) = (one for name, one in model.model_fields.items() if key in (one.alias, name))
            token = property_.get("items", property_).get("$ref", "").removeprefix("#/types/")
            members = [one["value"] for one in SCHEMA["types"].get(token, {}).get("enum", [])]
            texts = [one for one in typed_settings._choices(field.annotation) if str(one) == one]
            assert members == texts, f"{model.__name__}.{key}"


def test_components_and_resources_share_a_package_and_no_type():
    components, resources = SCHEMA, resource_schema(RESOURCE_TYPES)

    assert components["name"] == resources["name"]
    assert not components["resources"].keys() & resources["resources"].keys()


@pytest.mark.parametrize("path", typed_settings.modules(), ids=lambda path: path.parent.name)
def test_typed_settings_are_those_of_the_models(path):
    """`make readme` writes them."""
    assert path.read_text() == typed_settings.modules()[path]


def test_the_analyzer_spells_each_key_as_the_settings_do():
    for model in typed_settings.models():
        for name, field in model.model_fields.items():
            key = field.alias or name
            assert camel_case(typed_settings.snake(key)) == key


def test_a_program_in_another_language_gets_the_sentence_in_its_own_spelling():
    arguments = {"cluster": {"name": "demo"}, "clusterId": "x"}

    with pytest.raises(ArgumentError) as caught:
        host._provider().construct("mine", "castai-stack:index:AgentComponent", arguments)

    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines[0] == "Invalid arguments of AgentComponent mine:"
    assert "cluster.accountId: required, and not given" in lines
    assert (
        "clusterId: found a str that cannot be used; allowed: a UUID in lower-case hex digits"
        in lines
    )


def test_a_component_of_another_version_is_refused_by_name():
    request = provider_pb2.ConstructRequest(type="castai-stack:index:Newer", name="mine")

    with pytest.raises(
        ResourceError, match=r"Newer is no component of the plugin .* AgentComponent"
    ):
        host.construct(request, "")
