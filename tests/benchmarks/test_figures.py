"""Numbers over rounds."""

from benchmarks.throughput.figures import NONE, median, number, ratio, spread, table


def test_a_spread_is_the_median_and_the_range_over_rounds() -> None:
    """A median says little without how far apart the rounds were; nothing measured is a dash."""
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 [1.0–3.0]"
    assert spread([2.5]) == "2.50"
    assert spread([]) == NONE
    assert median([]) is None
    assert number(None) == NONE
    assert number(12345.6, 0) == "12,346"


def test_a_ratio_is_by_the_reference_before_and_after() -> None:
    """A machine that gets slower in between does not count for or against a server."""
    assert ratio(30.0, 40.0, 20.0) == 1.0


def test_a_table_is_markdown_with_numbers_to_the_right() -> None:
    """The first column is text."""
    assert table(["server", "images/s"], [["a", "1.0"]]) == [
        "| server | images/s |",
        "| --- | ---: |",
        "| a | 1.0 |",
    ]
