"""CAST AI's API key on every road that reads it: refused or cleaned, and never shown."""

import subprocess
import sys
import unicodedata
from pathlib import Path

import pulumi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castai_stack.castai.client import CastaiApi
from castai_stack.castai.model import CastaiError
from castai_stack.config.program import ConfigError, api_key
from castai_stack.spot import archive
from castai_stack.spot_handler import handler
from castai_stack.spot_handler.api_key import ApiKeyError, clean

HEAD, TAIL = "castai-secret-key", "0123456789"
CATEGORIES = sorted({unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1)})
NAME = "CASTAI_API_KEY"


def program_reads(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(NAME, raising=False)
        pulumi.runtime.set_all_config({"castai-eks:apiKey": text})
        return api_key(pulumi.Config("castai-eks"))


def client_reads(text):
    return CastaiApi("https://api.cast.ai", text)._key._value


def handler_reads(text):
    return handler.key_source({NAME: text})(False)


def handler_reads_secret(text):
    class Client:
        def get_secret_value(self, **_):
            return {"SecretString": text}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler.boto3, "client", lambda _: Client())
        return handler.key_source({"CASTAI_API_KEY_SECRET_ARN": "arn"})(False)


ROADS = [program_reads, client_reads, handler_reads, handler_reads_secret]


@pytest.fixture(autouse=True)
def no_configuration():
    yield
    pulumi.runtime.set_all_config({})


def outcome(road, text):
    """The key that a road yields and its refusal; one of them is None."""
    try:
        return road(text), None
    except (ApiKeyError, ConfigError, CastaiError) as error:
        return None, error


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("category", CATEGORIES)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_every_user_of_a_key_accepts_a_header_value_or_refuses_it_without_showing_it(
    road, category, data
):
    character = data.draw(st.characters(categories=[category]))
    before, inside, after = data.draw(st.permutations([character, "", ""]))
    text = f"{before}{HEAD}{inside}{TAIL}{after}"

    key, refusal = outcome(road, text)

    if refusal is None:
        assert key in {text, HEAD + TAIL}
        assert key.isascii()
        assert key.isprintable()
        assert " " not in key
    else:
        assert HEAD not in str(refusal)
        assert TAIL not in str(refusal)
        assert refusal.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        "key\n", "key\r\n", " key ", '"key"', "'key'", "`key`", '"key"\n', "\ufeffkey", "\u200bkey\u00a0",
        "\tkey\u2028", '" key "',
    ],
)  # fmt: skip
def test_what_a_terminal_or_an_editor_adds_around_a_key_is_no_part_of_it(text):
    assert clean(text) == "key"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the API key is empty"),
        (" \n", "the API key is empty"),
        ('""', "the API key is empty"),
        ("castai-sandbox-\nfull-access", "holds a line break"),
        ("a b", "holds a blank"),
        ("a\u00a0b", "holds a blank"),
        ("a\tb", "holds a blank"),
        ("a\u200bb", "holds an invisible character"),
        ("a\x00b", "holds an invisible character"),
        ('"a', "holds a quote"),
        ("a'b", "holds a quote"),
        ("größe", "holds a character outside ASCII"),
        ("a\udcff", "holds a character outside ASCII"),
    ],
)
def test_an_unusable_key_is_described_by_what_is_in_its_way(text, message):
    with pytest.raises(ApiKeyError, match=message):
        clean(text)


def test_the_check_runs_without_this_package():
    """The Lambda carries the files of the folder only."""
    folder = Path(handler.__file__).parent.parent
    code = "import sys; from spot_handler.api_key import clean; print(clean(' k '), 'castai_stack' in sys.modules)"
    answer = subprocess.check_output([sys.executable, "-c", code], cwd=folder, text=True)

    assert answer == "k False\n"


def test_the_archive_of_the_lambda_holds_the_check():
    assert "api_key.py" in archive.sources()
