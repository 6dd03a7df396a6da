"""A score behind a server that drops, delays, reorders and forgets: every sample gets its own value, once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

import zmax
from zmax.core.errors import InputError
from zmax.scores import RemoteScore, remote


class Server(ThreadingHTTPServer):
    """Scores texts by length and tensors by sum; misbehaves as it is told, one word a request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[str] = []
        self.requests: list[list[str]] = []
        self.scored: dict[str, float] = {}
        self.times: Counter[str] = Counter()
        self.at_once = self.most = 0
        self.lock = Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/score"

    def handle_error(self, *_: Any) -> None:
        """Say nothing of connections that the other side has left."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        server, (ids, samples) = self.server, self.read()
        with server.lock:
            how = server.plan.pop(0) if server.plan else ""
            server.requests.append(ids)
            server.at_once += 1
            server.most = max(server.most, server.at_once)
        if how == "slow":
            time.sleep(0.1)
        fresh = [i for i, id_ in enumerate(ids) if id_ not in server.scored]
        for i in fresh if how not in ("drop before", "busy", "wrong") else []:
            server.times[ids[i]] += 1
            server.scored[ids[i]] = samples[i]
        with server.lock:
            server.at_once -= 1
        self.reply(how, ids)

    def reply(self, how: str, ids: list[str]) -> None:
        scores: dict[str, Any] = {id_: self.server.scored[id_] for id_ in ids if id_ in self.server.scored}
        if how.startswith("drop"):
            self.close_connection = True
            return
        if how == "late":
            time.sleep(0.6)
        if how == "reversed":
            scores = dict(reversed(scores.items()))
        if how == "half":
            scores = dict(list(scores.items())[::2])
        if how == "foreign":
            scores = {"somebody": 1e9, **scores}
        code = {"busy": 503, "wrong": 422}.get(how, 200)
        text = "<html>" if how == "garbage" else json.dumps({"scores": scores} if code == 200 else {"why": how})
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def read(self) -> tuple[list[str], list[Any]]:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Type"] == "application/json":
            asked = json.loads(body)
            return asked["ids"], [float(len(s)) if len(s) < 99 else None for s in asked["samples"]]
        size = int.from_bytes(body[:8], "little")
        ids = json.loads(json.loads(body[8 : 8 + size])["__metadata__"]["ids"])
        return ids, safetensors.torch.load(body)["samples"].flatten(1).sum(1).tolist()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    made = Server()
    Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


WORDS = ["a" * n for n in (5, 3, 8, 1, 7, 2, 6, 4)]
LENGTHS = [float(len(word)) for word in WORDS]


@pytest.mark.parametrize(
    "plan",
    [
        [],
        ["reversed", "reversed", "reversed"],
        ["drop before", "drop after", "", "half"],
        ["late", "reversed", "foreign"],
        ["busy", "garbage", "half", "half", "half"],
        ["slow", "", "reversed", "drop after", "late", "half"],
    ],
    ids=lambda plan: " ".join(plan) or "good",
)
@pytest.mark.parametrize("workers", [1, 3])
def test_every_sample_gets_its_own_value_and_is_scored_once(server: Server, plan: list[str], workers: int) -> None:
    server.plan = [*plan]
    S = RemoteScore(server.url, batch=3, timeout=0.4, workers=workers)
    answers = list(S.answers(WORDS))
    assert {a.row: (a.value, a.failure) for a in answers} == {i: (n, "") for i, n in enumerate(LENGTHS)}
    assert len(answers) == len(WORDS)
    assert set(server.times.values()) == {1}
    assert answers[-1].running == 0


def test_requests_go_at_the_same_time(server: Server) -> None:
    server.plan = ["slow"] * 8
    S = RemoteScore(server.url, batch=1, workers=4)
    assert S(WORDS).tolist() == LENGTHS
    assert 2 <= server.most <= 4


def test_tensors_go_as_safetensors(server: Server) -> None:
    x = torch.arange(24.0).reshape(4, 2, 3)
    assert RemoteScore(server.url, batch=3)(x).tolist() == x.flatten(1).sum(1).tolist()
    assert RemoteScore(server.url)(x.numpy()).tolist() == x.flatten(1).sum(1).tolist()


def test_what_the_server_cannot_judge_fails_alone_and_a_refusal_is_not_repeated(server: Server) -> None:
    S = RemoteScore(server.url, batch=2)
    assert S(["a", "b" * 99]).isnan().tolist() == [False, True]
    server.plan, server.requests = ["wrong"], []
    answers = {a.row: a for a in S.answers(["a", "bb", "ccc"])}
    assert [answers[i].value for i in (2,)] == [3.0]
    assert all("422" in answers[i].failure and "wrong" in answers[i].failure for i in (0, 1))
    assert len(server.requests) == 2


def test_a_server_that_is_away_is_asked_again_and_then_said_to_be_away(server: Server) -> None:
    server.plan = ["busy"] * 3
    answers = list(RemoteScore(server.url, tries=3).answers(["a"]))
    assert "503" in answers[0].failure
    assert "3 tries" in answers[0].failure
    away = RemoteScore("http://127.0.0.1:9/score", tries=2)
    assert "no answer from http://127.0.0.1:9/score" in next(iter(away.answers(["a"]))).failure


def test_addresses_are_scores_alone_and_in_arithmetic(server: Server) -> None:
    S = zmax.load_score(f"2*{server.url} - 1")
    assert S(WORDS).tolist() == [2 * n - 1 for n in LENGTHS]
    assert zmax.load_score(server.url).source == server.url
    with pytest.raises(InputError, match="http://host/path"):
        RemoteScore("http:///score")
    with pytest.raises(InputError, match="JSON"):
        RemoteScore(server.url)([object()])


def test_a_run_over_a_server_that_misbehaves_is_the_run_over_a_function(server: Server) -> None:
    G = zmax.generator(lambda z: ["x" * int(1 + 9 * abs(v)) for v in z[:, 0]], shape=(4,), modality="text")
    server.plan = ["", "drop after", "reversed", "half", "busy"] * 4
    runs = [zmax.maximize(G, S, "random", budget=12) for S in (zmax.score(len, per_sample=True), server.url)]
    assert runs[0].history.score.tolist() == runs[1].history.score.tolist()
    assert sum(server.times.values()) == runs[1].ledger.score_calls == 12
