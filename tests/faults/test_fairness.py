"""Whose images run where more is asked for than can be done, with workers of a known capacity:
their model sleeps, which takes as long on any machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import overload
from benchmarks.overload import Running, addresses, sent
from run.load.clients import Load
from run.load.plan import Plan

#: Milliseconds that the model sleeps for each image.
IMAGE_MS = 100.0
WORKERS = 2
#: Images that workers may have begun, or taken ahead.
IN_WORK = 2 * WORKERS
SECONDS = 10.0


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with overload.service(WORKERS, IMAGE_MS) as service:
        yield service


def nine(running: Running) -> Load:
    """Nine clients of which something always waits, however slow the machine is."""
    return running.load(Plan(SECONDS, clients=3 * 9, timeout_s=60.0), addresses(9))


def test_who_sends_much_has_no_more_than_others(running: Running) -> None:
    """Of nine clients beside one with 72 images at a time, each has about as many answered; first
    come, first served would leave the nine a quarter."""
    much = 72
    others, one = sent(
        nine(running),
        running.load(Plan(SECONDS, clients=much, timeout_s=60.0), addresses(1, network=0)),
    )
    assert others.counts["ok"] == others.requests
    # Those of it that waited at the end ran when the nine had gone.
    beside = one.counts["ok"] - much
    assert others.counts["ok"] >= 0.7 * (others.counts["ok"] + beside), (others, one)


def test_who_hangs_up_wastes_no_more_than_a_share(running: Running) -> None:
    """Images that were run and of which nobody took the answer are those of clients that hang up:
    no more than these have turns, one in ten, beside nine that wait."""
    before = running.images_run()
    impatient = Plan(SECONDS, clients=32, timeout_s=60.0, hang_up_after_s=0.5)
    patient, others = sent(nine(running), running.load(impatient, addresses(1, network=0)))
    run = running.images_run() - before
    answered = patient.counts["ok"] + others.counts["ok"]
    assert others.counts["cancelled"] > 0
    assert answered <= run <= answered / 0.7 + IN_WORK, (run, patient.counts, others.counts)


def test_who_would_come_too_late_is_not_run(running: Running) -> None:
    """Of 64 clients that want within 40 images' time what takes 64, and come back at once, those
    whose images are run are answered in time."""
    timeout_s = 40 / running.capacity
    before = running.images_run()
    (found,) = sent(
        running.load(Plan(SECONDS, clients=64, timeout_s=timeout_s), addresses(16))
    )  # fmt: skip
    run = running.images_run() - before
    assert found.counts["rejected"] > 0
    assert found.counts["ok"] >= 0.7 * run - IN_WORK, (run, found.counts)
