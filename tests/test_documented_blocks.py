"""How blocks of commands are found in the documents."""

import re

import pytest

from tests.support import documents
from tests.support.documents import DocumentError

PAGE = """\
1. Create:

   ```sh
   first --option \\
     value  # comment
   # a whole line of comment
   second
   ```

```sh
third
```

```text
its output
```

Prose.

```text
a diagram
```
"""
COMMAND = re.compile(r"^(\$ |(python|make|pulumi|kubectl|aws|uv|castai-eks) )", re.MULTILINE)


def test_a_block_has_its_commands_and_the_output_that_follows_it():
    steps, example, diagram = documents.blocks("page.md", PAGE)

    assert steps.commands == ["first --option value  # comment", "second"]
    assert (steps.line, steps.key, steps.output) == (
        3,
        ("page.md", "first --option value"),
        None,
    )
    assert (example.commands, example.output) == (["third"], "its output\n")
    assert diagram.text == "a diagram\n"


def test_a_block_splits_before_a_command_and_the_last_part_has_the_output():
    page = documents.blocks("page.md", "```sh\none\ntwo  # 2\nthree\n```\n```text\nout\n```\n")

    parts = documents.split(page, [("page.md", "two"), ("other.md", "three")])

    assert [part.commands for part in parts] == [["one"], ["two  # 2", "three"]]
    assert [part.output for part in parts] == [None, "out\n"]


def test_the_numbered_steps_of_the_readme_are_blocks():
    text = "2. `pulumi preview --diff` shows it, `pulumi up` does it; `aws` is no step.\n"

    (block,) = documents.blocks("README.md", text)

    assert block.commands == ["pulumi preview --diff", "pulumi up"]
    assert documents.blocks("docs/page.md", text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```console\n$ x\n```\n", "language 'console'"),
        ("Run:\n\n    x\n", "an indented block"),
        ("```sh\n# x\n```\n", "without a line"),
    ],
)
def test_a_block_that_would_be_passed_by_is_refused(text: str, message: str):
    with pytest.raises(DocumentError, match=message):
        documents.blocks("page.md", text)


def test_no_command_hides_in_a_block_of_text():
    texts = [block for block in documents.all_blocks() if block.language == "text"]

    assert texts
    assert [block.line for block in texts if COMMAND.search(block.text)] == []
