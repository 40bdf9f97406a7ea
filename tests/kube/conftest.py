"""What the chart makes of each set of values, rendered once."""

from __future__ import annotations

import pytest

from tests.kube import chart
from tests.kube.chart import Document


@pytest.fixture(scope="session")
def rendered() -> dict[str, list[Document]]:
    """The objects of each try of the chart, by its name."""
    return {name: chart.template(*arguments) for name, arguments in chart.TRIES.items()}


@pytest.fixture(params=list(chart.TRIES))
def documents(
    request: pytest.FixtureRequest, rendered: dict[str, list[Document]]
) -> list[Document]:
    """The objects of each try in turn."""
    return rendered[request.param]
