"""What a secret search finds, told by servers that made some secrets."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from castai_stack.castai.client import CastaiApi
from sandbox import aws, castai
from sandbox.castai import API_KEY
from sandbox.proofs.secret_search import SecretSearch


@pytest.fixture
def search(tmp_path: Path):
    """A search whose services made one key, deleted since, and two tokens."""
    cloud = aws.serve(tmp_path / "aws")
    service = castai.serve(tmp_path / "castai", cloud.url)
    iam = aws.root(cloud.url).client("iam", cloud.url)
    iam.create_user(UserName="u")
    result = iam.create_access_key(UserName="u")["AccessKey"]
    iam.delete_access_key(UserName="u", AccessKeyId=result["AccessKeyId"])
    api = CastaiApi(service.url, API_KEY)
    cluster = api.register("demo", "eu-central-1", "012345678901")
    for _ in range(2):
        api.create_token(cluster.id)
    yield SecretSearch(tmp_path / "sandbox", aws_url=cloud.url, castai_url=service.url)
    service.close()
    cloud.close()


def test_every_secret_that_was_ever_made_is_known(search: SecretSearch):
    assert sorted(search.secrets().values()) == [
        "a cluster's token",
        "a cluster's token",
        "an access key's secret",
        "the API key",
    ]


@pytest.mark.parametrize("spelled", [str, lambda text: base64.b64encode(text.encode()).decode()])
@pytest.mark.parametrize("file", ["logs/a.log", "pulumi/backend/history/one", "services/c.log"])
def test_a_secret_is_found_in_a_file_as_it_is_and_encoded(
    search: SecretSearch, tmp_path: Path, file: str, spelled: Callable[[str], str]
):
    path = tmp_path / "sandbox" / file
    path.parent.mkdir(parents=True)
    path.write_text("nothing")
    assert search.plain() == []
    for secret, what in search.secrets().items():
        path.write_text(json.dumps({"found": f"x{spelled(secret)}x"}))

        assert search.plain() == [f"{what} is plain in {file}"]
        assert search.plain() == [], "the file was not written since"


def test_a_secret_is_found_in_what_was_printed(search: SecretSearch):
    texts = {"the output": f"Bearer {API_KEY}", "another": "nothing"}
    assert search.plain(texts) == ["the API key is plain in the output"]
