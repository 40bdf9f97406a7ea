"""`damoscope images purge`, and what `damoscope up` keeps unless something else is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.errors import ConfigurationError, Unavailable
from pipeline.queue.kept import PictureKeeper
from pipeline.queue.keys import KEPT_KEYS
from pipeline.settings import Settings
from run.cli import app
from run.up import kept_here
from tests.servers import RedisProcess

IDS = "a1" * 16, "b2" * 16


def purge(*words: str) -> Result:
    return CliRunner().invoke(app, ["images", "purge", *words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which"),
        (["--all", "--trace", IDS[0]], "say which"),
        (["--trace", "../x"], "32 digits"),
        (["--all"], "REDIS_URL is not set"),
    ],
)
def test_what_cannot_be_purged(tmp_path: Path, words: list[str], said: str) -> None:
    """One line that says what to do."""
    answer = purge(*words, "--home", str(tmp_path))
    assert isinstance(answer.exception, ConfigurationError)
    assert said in str(answer.exception)


def test_purge(tmp_path: Path) -> None:
    """It says how many it deleted; those that are younger stay."""
    with RedisProcess(tmp_path) as server:
        keeper = PictureKeeper(server.client, hours=1, most_mb=1)
        for number in range(3):
            keeper.keep(IDS[0], f"{number:032x}", b"\xff\xd8\xff")
        none = purge("--older-than", "1", "--redis-url", server.url)
        assert "0 pictures deleted." in none.output
        every = purge("--all", "--home", str(tmp_path))  # where `damoscope up` has its Redis
        assert "3 pictures deleted." in every.output
        assert list(server.client.scan_iter(f"{KEPT_KEYS}*")) == []
    assert isinstance(purge("--all", "--redis-url", server.url).exception, Unavailable)


def test_what_is_kept_unless_something_is_said() -> None:
    """Thumbnails, where Redis and telemetry are this machine's own; what is said holds."""
    assert kept_here(Settings()) == "thumbnails"
    assert kept_here(Settings(keep_images="none")) == "none"
    assert kept_here(Settings(keep_images="full")) == "full"
    assert kept_here(Settings(prometheus_url="http://localhost:9090")) is None
