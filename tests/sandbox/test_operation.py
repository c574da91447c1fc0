import pytest

from sandbox.engine import operation

FRAMES = """\
Traceback (most recent call last):
  File "/x/pulumi/dynamic/__main__.py", line 84, in wrapper
    return fn(self, request, context)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
"""


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ("Preflight failed:\n  account: wrong", "Preflight failed:\n  account: wrong"),
        (f"{FRAMES}castai_stack.x.ResourceFailed: CAST AI is: away.", "CAST AI is: away."),
        (f"create: {FRAMES}x.Failed: one\n  and two", "create: one\n  and two"),
        (
            f"{FRAMES}KeyError: 'a'\n\nDuring handling of the above exception, another "
            f"exception occurred:\n\n{FRAMES}x.Failed: the last word",
            "the last word",
        ),
        (f"{FRAMES}KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_a_traceback_is_told_by_its_exceptions_own_words(told: str, sentence: str):
    assert operation._without_traceback(told) == sentence
