"""frontend.api.idempotency: the field `Idempotency-Key` as its draft and RFC 8941 have it."""

from __future__ import annotations

import re

import pytest

from frontend.api.idempotency import CHARACTERS_MAX, PATTERN, read
from pipeline.errors import MalformedRequest

UUID = "8e03978e-40d5-43e8-bc93-6894a57f9324"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (f'"{UUID}"', UUID),
        (f'  "{UUID}"  ', UUID),
        ('"a b, c; d"', "a b, c; d"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        ('"x"; a=1;b;c="; \\" ,"', "x"),
        ('"' + "x" * CHARACTERS_MAX + '"', "x" * CHARACTERS_MAX),
        ('"' + r"\"" * CHARACTERS_MAX + '"', '"' * CHARACTERS_MAX),
    ],
)
def test_a_string(line: str, key: str) -> None:
    """What stands between quotation marks; what follows as parameters is passed over."""
    assert read([line]) == key


@pytest.mark.parametrize(
    "lines",
    [
        [""], ['""'], [UUID], ["'x'"], ['"x'], ['"x" "y"'], ['"x", "y"'], ['"x"', '"x"'],
        [r'"\x"'], ['"\\"'], ['"\t"'], ['"\u00e9"'], ['"\u0663"'], ['"x";'], ['"x"; A=1'], ["1"],
        [":YQ==:"], ['"' + "x" * (CHARACTERS_MAX + 1) + '"'], ['"' + "x" * 50_000 + '"'],
    ],
)  # fmt: skip
def test_anything_else(lines: list[str]) -> None:
    """No string, more than one, an empty one or one that is too long: the refusal says how it is to
    be."""
    with pytest.raises(MalformedRequest, match=UUID):
        read(lines)


def test_none() -> None:
    """Nobody has to send one."""
    assert read([]) is None


@pytest.mark.parametrize("text", ['"x"' + ";a" * 9000, '"x"' + "; " * 9000, '"\\' * 9000])
def test_rubbish(text: str) -> None:
    """What is made to take a parser long is refused like anything else."""
    with pytest.raises(MalformedRequest):
        read([text])


def test_the_pattern_that_openapi_tells() -> None:
    """It says the same."""
    assert re.search(PATTERN, f'"{UUID}"')
    assert re.search(PATTERN, r'"\\\""')
    for wrong in ('""', UUID, '"' + "x" * 256 + '"', r'"\x"', '"\u00e9"'):
        assert not re.search(PATTERN, wrong)
