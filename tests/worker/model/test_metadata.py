"""worker.model.metadata: names of classes as exporters write them."""

from __future__ import annotations

import pytest

from pipeline.errors import ModelError
from worker.model.metadata import NAMES_MAX, labels_in


@pytest.mark.parametrize(
    "text",
    [
        "{0: 'phone', 1: \"child's toy\"}",
        "{1: \"child's toy\", 0: 'phone'}",
        '{"0": "phone", "1": "child\'s toy"}',
        '["phone", "child\'s toy"]',
        "['phone', \"child's toy\"]",
        "('phone', \"child's toy\")",
        " {0: 'phone', 1: \"child's toy\"}\n",
    ],
)
def test_names_as_exporters_write_them(text: str) -> None:
    """As Python writes a dict, list or tuple, and as JSON."""
    assert labels_in({"names": text}) == ("phone", "child's toy")


def test_our_own_labels_count_first() -> None:
    """A file may carry both."""
    meta = {"names": "{0: 'a'}", "damoscope.labels": '["phone"]'}
    assert labels_in(meta) == ("phone",)
    assert labels_in({}) is None


@pytest.mark.parametrize(
    "text",
    [
        "phone",
        "{0: 'phone', 2: 'book'}",
        "{'phone': 0}",
        "[1, 2]",
        "{0: ['phone']}",
        "__import__('os').system('id')",
        "['a'] * 9",
        "[" * 5000,
        "{0: " * 5000,
        "-" * 50_000 + "1",
        "9" * 10_000,
        '["a' + "a" * NAMES_MAX + '"]',
        "",
    ],
)
def test_names_that_are_none(text: str) -> None:
    """Nothing is run, nothing goes on for long, and the refusal names the key, briefly."""
    with pytest.raises(ModelError, match="its metadata names=") as refused:
        labels_in({"names": text})
    assert len(str(refused.value)) < 400
