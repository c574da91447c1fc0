"""CAST AI's API key as it may stand in a header; the one check for all of its readers.

It lies beside the handler because the Lambda carries the files of this folder and no others.
"""

import unicodedata

_QUOTES = "\"'`"
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs"}
"""Unicode categories of what a terminal, an editor or a web page adds unseen."""


class ApiKeyError(ValueError):
    """The key cannot be used; the message never holds a character of it."""


def clean(text: str) -> str:
    """Return the key without the blanks, line breaks and quotes around it.

    Raises ApiKeyError when nothing is left, or when a character inside cannot be part of a key:
    a header takes visible ASCII only, and http.client prints the value that it refuses.
    """
    key = _stripped(text)
    if len(key) > 1 and key[0] == key[-1] and key[0] in _QUOTES:
        key = _stripped(key[1:-1])
    if not key:
        raise ApiKeyError("the API key is empty")
    for character in key:
        if character in _QUOTES or not "!" <= character <= "~":
            raise ApiKeyError(
                f"the API key holds {_described(character)}; copy it again, in one line"
            )
    return key


def _stripped(text: str) -> str:
    start, end = 0, len(text)
    while start < end and unicodedata.category(text[start]) in _INVISIBLE:
        start += 1
    while start < end and unicodedata.category(text[end - 1]) in _INVISIBLE:
        end -= 1
    return text[start:end]


def _described(character: str) -> str:
    if character in "\r\n\u2028\u2029\x0b\x0c\x85":
        return "a line break"
    if character in _QUOTES:
        return "a quote"
    category = unicodedata.category(character)
    if category == "Zs" or character == "\t":
        return "a blank"
    return "an invisible character" if category in _INVISIBLE else "a character outside ASCII"
