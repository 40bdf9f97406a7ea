"""pipeline.errors: codes that travel between processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.errors import DamoscopeError, InvalidImage, from_code


def every(root: type[DamoscopeError] = DamoscopeError) -> Iterator[type[DamoscopeError]]:
    yield root
    for child in root.__subclasses__():
        if "code" in vars(child):
            yield from every(child)


@pytest.mark.parametrize("kind", list(every()), ids=lambda kind: kind.__name__)
def test_there_and_back(kind: type[DamoscopeError]) -> None:
    """An error comes back from its code and message as what it was."""
    back = from_code(kind.code, "what happened")
    assert type(back) is kind
    assert str(back) == "what happened"
    assert back.headers == kind("what happened").headers


def test_codes_are_distinct() -> None:
    """No two kinds of errors share a code."""
    codes = [kind.code for kind in every()]
    assert len(set(codes)) == len(codes)


def test_unknown_code() -> None:
    """A code of a newer release is an error all the same."""
    back = from_code("from_the_future", "?")
    assert type(back) is DamoscopeError
    assert back.status == 500


@pytest.mark.parametrize("kind", list(every()), ids=lambda kind: kind.__name__)
def test_every_kind_can_be_answered(kind: type[DamoscopeError]) -> None:
    """Each has an HTTP status of an error, a title and an outcome that metrics know."""
    assert 400 <= kind.status < 600
    assert kind.title
    assert kind.outcome in ("invalid", "rejected", "failed", "timeout", "cancelled")
    assert (kind.outcome in ("invalid", "cancelled")) == (
        400 <= kind.status < 500 and kind.status != 429
    )


def test_headers_are_not_shared() -> None:
    """Headers of one error do not show up in another."""
    InvalidImage("a").headers["retry-after"] = "1"
    assert InvalidImage("b").headers == {}
