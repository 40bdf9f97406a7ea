"""Clients against a service whose delays are known."""

from __future__ import annotations

import asyncio

import pytest

from run.load.clients import Load
from run.load.connection import Target
from run.load.figures import figures
from run.load.plan import ArrivalRate, Plan
from tests.run.load.stub import FULL, OK, TRACE, Stub, answer, loaded


async def at_once(_: int) -> bytes:
    return answer(200)


def test_each_client_sends_its_next_image_after_its_answer() -> None:
    """Never more requests at a time than clients; each is recorded once, with its bytes."""
    under_way, most = 0, 0

    async def reply(_: int) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return answer(200)

    stub = Stub(reply)
    found = figures(loaded(stub, Plan(duration_s=60, clients=4, requests=40)))
    assert found.requests == stub.seen == found.counts["ok"] == 40
    assert most == 4
    assert found.bytes_received == 40 * len(OK)
    assert found.bytes_sent > 40 * 1000


@pytest.mark.parametrize("poisson", [True, False])
def test_a_service_that_stands_still_shows_in_the_percentiles_of_an_open_loop(
    poisson: bool,
) -> None:
    """It stops for a second under 50 requests a second: those that were due meanwhile waited up to
    that second, evenly, and count so, although none of them could be answered earlier."""
    release = asyncio.Event()

    async def reply(number: int) -> bytes:
        if number == 50:
            asyncio.get_running_loop().call_later(1.0, release.set)
        if number >= 50:
            await release.wait()
        return answer(200)

    plan = Plan(duration_s=4, rate=ArrivalRate(50, 50), poisson=poisson, seed=3)
    load = loaded(Stub(reply), plan)
    found = figures(load)
    stood = sorted(
        (end - due for due, end in zip(load.record.due, load.record.ended, strict=True)),
        reverse=True,
    )
    assert found.counts["ok"] == found.requests == len(stood)
    assert 150 < found.requests < 250
    # about 50 were due in that second: the tenth slowest of them waited most of it
    assert stood[0] >= 0.95
    assert stood[9] >= 0.5
    assert stood[24] >= 0.2


def test_a_closed_loop_hardly_sees_the_same_second() -> None:
    """The one client is the one request that waits: why the report says so."""

    async def reply(number: int) -> bytes:
        await asyncio.sleep(1.0 if number == 10 else 0.0)
        return answer(200)

    load = loaded(Stub(reply), Plan(duration_s=60, clients=1, requests=60))
    slow = [e - d for d, e in zip(load.record.due, load.record.ended, strict=True) if e - d > 0.9]
    assert len(slow) == 1


def test_one_connection_in_use_keeps_others_waiting_and_they_count_the_wait() -> None:
    """With one connection and answers that take 50 ms, requests that are due every 25 ms line up;
    the report says that they waited for a connection."""

    async def reply(_: int) -> bytes:
        await asyncio.sleep(0.05)
        return answer(200)

    plan = Plan(duration_s=1, rate=ArrivalRate(40, 40), poisson=False, connections=1)
    load = loaded(Stub(reply), plan)
    found = figures(load)
    assert found.latency_ms["max"] is not None
    assert found.latency_ms["max"] >= 800
    assert load.crowded > 0
    assert any("--connections" in line for line in found.limits)


def test_clients_that_hang_up_are_counted_as_such_and_the_service_sees_them_go() -> None:
    """Half of the requests leave after 50 ms; the others are answered after 300."""

    async def reply(_: int) -> bytes:
        await asyncio.sleep(0.3)
        return answer(200)

    stub = Stub(reply)
    plan = Plan(duration_s=60, clients=8, requests=80, hang_up_after_s=0.05, hang_up_share=0.5)
    found = figures(loaded(stub, plan))
    assert found.counts["ok"] + found.counts["cancelled"] == 80
    assert 20 <= found.counts["cancelled"] <= 60
    assert {row["outcome"] for row in found.outcomes} == {"200", "hung up"}
    assert stub.gone >= found.counts["cancelled"] * 0.5


def test_what_a_service_does_not_answer_in_time_is_a_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client waits a little longer than that, for the service to say that it is over."""
    monkeypatch.setattr("run.load.clients.GRACE_S", 0.1)

    async def reply(_: int) -> bytes:
        await asyncio.sleep(30)
        return answer(200)

    found = figures(loaded(Stub(reply), Plan(duration_s=60, clients=2, requests=4, timeout_s=0.1)))
    assert found.counts["timeout"] == found.requests == 4
    assert [row["outcome"] for row in found.outcomes] == ["no answer in time"]


def test_refusals_have_the_code_and_the_words_of_the_service() -> None:
    """Status and code name the outcome; the first detail is kept; the slowest name their traces."""

    async def reply(number: int) -> bytes:
        return answer(503, FULL) if number % 2 else answer(200)

    found = figures(loaded(Stub(reply), Plan(duration_s=60, clients=1, requests=10)))
    assert found.counts["ok"] == found.counts["rejected"] == 5
    (row,) = [row for row in found.outcomes if row["kind"] == "rejected"]
    assert (row["outcome"], row["detail"]) == ("503 overloaded", "the queue is full")
    assert {slow["trace_id"] for slow in found.slowest} == {TRACE}


def test_clients_that_obey_wait_as_they_are_told() -> None:
    """After a refusal with Retry-After: 1 a client sends nothing for a second."""

    async def reply(_: int) -> bytes:
        return answer(503, FULL, "retry-after: 1")

    plan = Plan(duration_s=1.5, clients=1, obey_retry_after=True)
    assert 1 <= len(loaded(Stub(reply), plan).record) <= 2


def test_connections_that_break_are_failures_and_the_clients_come_again() -> None:
    """A service that closes after each third request costs those requests, and no client."""

    async def reply(number: int) -> bytes | None:
        return None if number % 3 == 2 else answer(200)

    found = figures(loaded(Stub(reply), Plan(duration_s=60, clients=2, requests=30)))
    assert found.counts["failed"] == 10
    assert found.counts["ok"] == 20


def test_nobody_there_is_recorded_and_does_not_spin() -> None:
    """Each attempt is a failure of its own name, and a client pauses between two."""

    async def run() -> Load:
        server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
        target = Target.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        server.close()
        await server.wait_closed()
        load = Load(target, [target.request(b"x", "image/jpeg")], Plan(duration_s=0.5, clients=2))
        await load.run()
        return load

    load = asyncio.run(run())
    assert load.record.names == ["connection: Connection refused"]
    assert 2 <= len(load.record) <= 12


def test_one_that_is_stopped_sends_nothing_more_and_waits_for_what_is_under_way() -> None:
    """Ctrl-C: the requests that were sent are in the record, with their answers."""

    async def reply(_: int) -> bytes:
        await asyncio.sleep(0.3)
        return answer(200)

    async def run() -> Load:
        stub = Stub(reply)
        async with stub.listening() as url:
            target = Target.of(url)
            request = target.request(b"x", "image/jpeg")
            load = Load(target, [request], Plan(duration_s=3600, rate=ArrivalRate(50, 50)))
            task = asyncio.create_task(load.run())
            while stub.seen < 5:
                await asyncio.sleep(0.01)
            load.stop()
            await asyncio.wait_for(task, 60)
            assert stub.seen == len(load.record)
            return load

    assert set(asyncio.run(run()).record.names) == {"200"}


def test_many_clients_and_refusals_are_no_burden() -> None:
    """300 clients at once, 3,000 refusals: each is counted, over 300 connections."""

    async def reply(_: int) -> bytes:
        return answer(503, FULL)

    found = figures(loaded(Stub(reply), Plan(duration_s=100, clients=300, requests=3000)))
    assert found.counts["rejected"] == found.requests == 3000
