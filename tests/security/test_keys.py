"""Keys: made, listed and revoked by the command line, and asked for by a running service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.security.guarded import IMAGE, JPEG, Guarded, keys, make_key, ready
from tests.servers import Service, damoscope, eventually


def stats(service: Service, **headers: str) -> int:
    with service.client() as client:
        return client.get("/api/v1/stats", headers=headers).status_code


def test_a_key_is_shown_once_and_kept_nowhere(tmp_path: Path) -> None:
    """The file, for its owner alone, holds a hash; `list` shows names and roles."""
    secret = make_key(tmp_path, "camera-1", "detect", "read", days="30")
    file = tmp_path / "keys.json"
    assert file.stat().st_mode & 0o777 == 0o600
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert secret.encode() not in everything
    shown = keys(tmp_path, "list").stdout
    assert "camera-1" in shown
    assert "detect read" in shown
    assert secret not in shown
    again = keys(tmp_path, "add", "camera-1", "--role", "read")
    assert (again.returncode, again.stdout) == (2, "")
    assert "revoke it first" in again.stderr
    first = keys(tmp_path, "add", "other", "--role", "admin", "--first")
    assert "no other was made" in first.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "1camera", "--role", "read"], "begins with a letter"),
        (["add", "a b", "--role", "read"], "begins with a letter"),
        (["add", "a@b", "--role", "read"], "begins with a letter"),
        (["add", "x" * 65, "--role", "read"], "64 characters"),
        (["add", "other", "--role", "read"], "figures use it"),
        (["add", "camera", "--role", "root"], "detect, read, admin"),
        (["add", "camera", "--role", "read", "--days", "-1"], "more than 0"),
        (["revoke", "camera"], "there is no key"),
    ],
)
def test_what_cannot_be(words: list[str], said: str, tmp_path: Path) -> None:
    """One line says what is wrong, and the exit code is 2."""
    ended = keys(tmp_path, *words)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["up", "frontend"])
@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"DAMOSCOPE_HOST": "0.0.0.0"}, "DAMOSCOPE_HOST=0.0.0.0"),
        ({"DAMOSCOPE_HOST": "::"}, "DAMOSCOPE_HOST=::"),
        ({"DAMOSCOPE_PUBLIC_URL": "https://exams.example/x"}, "DAMOSCOPE_PUBLIC_URL"),
        ({"DAMOSCOPE_KEYS_FILE": "/nowhere/keys.json"}, "DAMOSCOPE_KEYS_FILE"),
    ],
)
def test_nothing_is_opened_without_a_word(
    command: str, env: dict[str, str], named: str, tmp_path: Path
) -> None:
    """Others could reach the service, and there are no keys: the start is refused with one line
    that names the setting and says what to do."""
    ended = damoscope(command, folder=tmp_path, REDIS_URL="redis://127.0.0.1:1", **env)
    assert ended.returncode == 2, ended.stderr
    line = ended.stderr.splitlines()[-1]
    assert named in line
    assert "damoscope keys add NAME --role admin" in line
    assert "--insecure" in line


def test_a_key_is_asked_for(guarded: Guarded) -> None:
    """In either header; without one, or with one that does not stand, the answer is a 401 that
    says how to send it, and an image leaves no trace."""
    key = guarded.keys["board"]
    assert stats(guarded, authorization=f"Bearer {key}") == 200
    assert stats(guarded, authorization=f"bearer  {key}") == 200
    assert stats(guarded, **{"x-api-key": key}) == 200
    digest = json.loads((guarded.home / "keys.json").read_text())["keys"][0]["sha256"]
    for wrong in ("x", key[:-1], key + "x", key.swapcase(), digest, "damo_", "\u00e9" * 40):
        sent = f"Bearer {wrong}".encode()
        with guarded.client() as client:
            answer = client.get("/api/v1/stats", headers={"authorization": sent})
        assert answer.status_code == 401, wrong
        assert answer.json()["type"] == "urn:damoscope:unauthenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert key not in answer.text
    with guarded.client() as client:
        answer = client.post("/api/v1/detect", content=IMAGE, headers=JPEG)
    assert answer.status_code == 401
    assert "x-trace-id" not in answer.headers
    assert "X-API-Key" in answer.json()["detail"]


def test_an_idempotency_key_is_its_owners(guarded: Guarded) -> None:
    """The same one of another owner, with the same image, stands for a job of that owner's."""
    headers = JPEG | {"idempotency-key": '"the first"'}
    jobs = []
    for name in ("camera-1", "camera-2", "camera-1", "owner"):
        with guarded.as_(name) as client:
            answer = client.post("/api/v1/detect", content=IMAGE, headers=headers)
        assert answer.status_code == 200, answer.text
        jobs.append(answer.json()["job_id"])
    assert jobs[0] == jobs[2]
    assert len(set(jobs)) == 3


def test_revoked_and_expired_keys(guarded: Guarded) -> None:
    """A running service notices new, expired and revoked keys within seconds."""
    key = make_key(guarded.home, "for-a-moment", "read")
    eventually(lambda: stats(guarded, authorization=f"Bearer {key}") == 200, "the key is known")
    assert keys(guarded.home, "revoke", "for-a-moment").returncode == 0
    eventually(lambda: stats(guarded, authorization=f"Bearer {key}") == 401, "it is revoked")
    short = make_key(guarded.home, "short", "read", days=str(20 / 86400))
    eventually(lambda: stats(guarded, authorization=f"Bearer {short}") == 200, "it stands")
    eventually(lambda: stats(guarded, authorization=f"Bearer {short}") == 401, "it expired")
    assert "(expired)" in keys(guarded.home, "list").stdout


def test_a_damaged_file_lets_nobody_in(guarded: Guarded) -> None:
    """Nobody by a key, and the service is not open either; the log says what to do. As soon as
    the file is as it should be, everybody is back."""
    file, header = guarded.home / "keys.json", guarded.bearer("owner")
    good = file.read_bytes()
    try:
        for bad in (b"", b"{}", good[:-20], b'{"version": 1, "keys": [{"name": "x"}]}', b"\xff",
                    b"[" * 100_000, None):  # fmt: skip
            file.unlink()
            if bad is not None:
                file.write_bytes(bad)
            eventually(lambda: stats(guarded, **header) == 401, f"nobody gets in: {bad!r:.20}")
            assert stats(guarded) == 401
            if bad is not None:  # each is looked at: in between, the key stands again
                file.write_bytes(good)
                eventually(lambda: stats(guarded, **header) == 200, f"after {bad!r:.20}")
        eventually(lambda: "is damaged" in guarded.output, "the log says so")
        eventually(lambda: "is gone" in guarded.output, "the log says so")
        assert "nobody gets in by a key" in guarded.output
    finally:
        file.unlink(missing_ok=True)
        file.write_bytes(good)
    eventually(lambda: stats(guarded, **header) == 200, "the key stands again")


@pytest.fixture(scope="module")
def insecure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on every address, for everybody, because somebody said so."""
    home = tmp_path_factory.mktemp("insecure") / "home"
    with Service(home, DAMOSCOPE_HOST="0.0.0.0", DAMOSCOPE_INSECURE="true") as running:
        yield ready(running)


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("flags", ["00", "01"])
def test_strangers_have_no_hand_in_traces(insecure: Service, flags: str) -> None:
    """Whoever is not known neither joins another's trace, nor switches his own off."""
    headers = JPEG | {"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "baggage": "a=b"}
    with insecure.client() as client:
        answer = client.post("/api/v1/detect", content=IMAGE, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["x-trace-id"] != TRACE
    spans = insecure.spans(answer.headers["x-trace-id"], 8)
    assert [span["name"] for span in spans if span["parent_span_id"] is None] == [
        "POST /api/v1/detect"
    ]


def test_the_first_key_closes_an_open_service(insecure: Service) -> None:
    """What was printed at the start says that it is open to everybody, and where; the first key
    takes effect while it runs, and the loss of the file does not open it again."""
    ready = insecure.output[insecure.output.index("ready after") :]
    assert "EVERYBODY" in ready
    assert "0.0.0.0" not in ready
    assert insecure.url in ready
    assert stats(insecure) == 200
    key = make_key(insecure.home, "owner", "admin")
    eventually(lambda: stats(insecure) == 401, "a key is needed")
    assert stats(insecure, authorization=f"Bearer {key}") == 200
    (insecure.home / "keys.json").unlink()
    eventually(lambda: stats(insecure, authorization=f"Bearer {key}") == 401, "nobody gets in")
    time.sleep(1.5)
    with httpx.Client(base_url=insecure.url, trust_env=False, timeout=60) as client:
        assert client.get("/api/v1/stats").status_code == 401
        assert client.get("/healthz").status_code == 200
