"""Judges that answer in words: the number is read, what else they say is kept, and what cannot be read fails alone."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest
import torch

import zmax
from tests.run.toys import identity
from zmax.core.errors import InputError
from zmax.run.leaders import Leaders, distinct
from zmax.scores import RemoteScore
from zmax.scores.words import Reader
from zmax.store import Entry, Journal


@dataclass
class Verdict:
    score: int
    reason: str


@pytest.mark.parametrize(
    ("parse", "answer", "value", "why"),
    [
        (float, "4", 4.0, ""),
        ("score", "Score: 4/5", 4.0, "Score: 4/5"),
        ("score", "A red hat.\n**Score:** -1.5", -1.5, "A red hat.\n**Score:** -1.5"),
        ("score", 'Sure!\n```json\n{"score": "4/5", "reason": "dark"}\n```', 4.0, "dark"),
        ("score", '{"score": 3.5}', 3.5, ""),
        ("score", {"score": 4, "reason": "dark"}, 4.0, "dark"),
        ("score", {"score": 4, "reason": "dark", "sure": 0.5}, 4.0, "reason: dark; sure: 0.5"),
        ("score", Verdict(2, "dull"), 2.0, "dull"),
        (0, (4, "dark"), 4.0, "dark"),
        (1, ["dark", "4 "], 4.0, "dark"),
        (lambda a: (a[0] / 5, a.split()[0]) if isinstance(a, str) else (a["n"], "seen"), {"n": 2}, 2.0, "seen"),
        (lambda a: len(a), "abc", 3.0, "abc"),
        (lambda a: a["n"], {"n": torch.tensor(2.0), "said": "fine", "k": 1}, 2.0, "fine"),
    ],
)
def test_the_number_and_the_rest_of_an_answer(parse, answer, value, why) -> None:
    assert Reader(parse, "judge")(answer) == (value, why)


@pytest.mark.parametrize(
    ("parse", "answer", "got"),
    [
        ("score", "I cannot say", "I cannot say"),
        ("score", "Score: 4. On reflection, score: 2", "4, 2"),
        ("score", {"points": 4}, "points"),
        ("score", {"score": "high"}, "high"),
        (2, (4, "dark"), "dark"),
        (float, "four", "four"),
    ],
)
def test_what_cannot_be_read_is_said(parse, answer, got) -> None:
    told = Reader(parse, "judge").answer(7, answer)
    assert told.row == 7
    assert math.isnan(told.value)
    assert got in told.failure


def test_none_is_no_number_and_the_words_say_why() -> None:
    told = Reader("score", "judge").answer(0, {"score": None, "reason": "no face to be seen"})
    assert math.isnan(told.value)
    assert told.failure == "no number: no face to be seen"


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: [f"Score: {n}" for n in range(len(x))],
        lambda x: {"score": list(range(len(x))), "why": ["w"] * len(x)},
        lambda x: [{"score": n} for n in range(len(x))],
        lambda x: __import__("pandas").DataFrame({"score": range(len(x))}),
    ],
    ids=["texts", "columns", "dicts", "frame"],
)
def test_every_container_of_answers(fn) -> None:
    assert zmax.score(fn, parse="score")(torch.zeros(3, 2)).tolist() == [0, 1, 2]
    assert zmax.score(fn, parse="score")(torch.zeros(1, 2)).tolist() == [0]


def test_pairs_and_columns_of_pairs() -> None:
    rows = zmax.score(lambda x: [(float(v), "ok") for v in x[:, 0]], parse=0)
    columns = zmax.score(lambda x: (x[:, 0], ["ok"] * len(x)), parse=0)
    x = torch.arange(6.0).reshape(3, 2)
    assert rows(x).tolist() == columns(x).tolist() == [0, 2, 4]
    assert [a.why for a in columns.answers(x)] == ["ok"] * 3
    with pytest.raises(InputError, match=r"a list of 3, one a sample[\s\S]*length 2"):
        zmax.score(lambda x: ["4", "5"], parse=float)(x)


@pytest.mark.parametrize("said", ["4", "Score: 4/5", {"score": 4}, (4, "dark")], ids=repr)
@pytest.mark.parametrize("single", [True, False])
def test_words_without_parse_are_answered_with_what_to_do(said, single) -> None:
    fn = (lambda x: said) if single else lambda x: [said] * len(x)
    with pytest.raises(InputError, match=r"answers in words[\s\S]*parse=\"score\""):
        zmax.score(fn, per_sample=single)(torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("more", "match"),
    [({"differentiable": True}, "differentiable"), ({"timed": True}, "timed"), ({"latents": True}, "parse")],
)
def test_what_does_not_go_together_is_refused(more, match) -> None:
    with pytest.raises(InputError, match=match):
        zmax.score(lambda x: ["4"], parse=float, **more)
    with pytest.raises(InputError, match="a function of an answer, or a key"):
        zmax.score(lambda x: ["4"], parse=True)


def test_judges_with_prompts_and_numpy_are_told_and_read() -> None:
    def marked(x, prompts):
        return [f"{prompt}: {value:.0f}" for prompt, value in zip(prompts, x[:, 0], strict=True)]

    S = zmax.score(marked, parse="hat", prompted=True)
    assert S.told("a hat")(torch.tensor([[2.0]])).tolist() == [2]
    one = zmax.score(lambda x, prompt: f"{prompt}: {x[0]:.0f}", parse="hat", prompted=True, per_sample=True, numpy=True)
    assert one.told("hat")(torch.tensor([[2.0]])).tolist() == [2]


def marks(x) -> list[str]:
    """Judge by the first coordinate, from 1 to 5; what is far out has no answer."""
    values = x[:, 0].tolist()
    return ["I cannot say" if v < -1 else f"{v:.3f}, so the score is {max(1, min(5, round(3 + v)))}/5" for v in values]


PARSE = "score is"


def test_a_run_keeps_what_is_said_in_history_leaders_exports_and_page(tmp_path: Path) -> None:
    r = zmax.maximize(identity(), zmax.score(marks, name="marks", parse=PARSE), "random", budget=60, out=tmp_path / "r")
    assert r.best.score == 5.0
    assert r.best.why == f"{float(r.best.u[0]):.3f}, so the score is 5/5"
    failed = [reason for reason in r.history.failures.values() if "I cannot say" in reason]
    assert 0 < len(failed) == len(r.history) - len(r.history.whys)
    assert [e.why for e in zmax.load_result(tmp_path / "r").leaders] == [e.why for e in r.leaders]
    assert r.history.to_pandas()["why"].iloc[r.best.id] == r.best.why
    assert r.best.why in r.report().read_text()
    from zmax.report.export import export_samples

    assert r.best.why in (tmp_path / "s" / "whys.txt").read_text() if export_samples(r, tmp_path / "s") else False
    assert r.summary()["best"]["why"] == r.best.why


def test_several_judges_are_told_apart() -> None:
    a = zmax.score(marks, name="a", parse=PARSE)
    b = zmax.score(lambda x: [(1, "fine")] * len(x), name="b", parse=0)
    r = zmax.maximize(identity(), a + b, "random", budget=40)
    assert r.best.why.startswith("a: ")
    assert r.best.why.endswith("/5\nb: fine")


def one_mark(x) -> dict[str, object]:
    """Judge one sample, in another process perhaps."""
    return {"score": f"{round(float(x[0]))}", "reason": f"it is {float(x[0]):.3f}"} if x[0] > -1 else {"score": "low"}


def test_words_of_workers_are_those_of_this_process() -> None:
    x = torch.tensor([[2.0], [-3.0], [1.0]])
    here = list(zmax.score(one_mark, per_sample=True, parse="score").answers(x))
    S = zmax.score(one_mark, per_sample=True, parse=lambda a: (float(a["score"]), a["reason"]), workers=1)
    there = sorted(S.answers(x), key=lambda a: a.row)
    S.close()
    assert [(a.value, a.why) for a in there if not a.failure] == [(2.0, "it is 2.000"), (1.0, "it is 1.000")]
    assert [a.why for a in here] == [a.why for a in there]
    assert "low" in here[1].failure
    assert "low" in there[1].failure


def test_what_was_said_survives_an_interruption(tmp_path: Path) -> None:
    def run(out: Path, stop: int) -> zmax.Result:
        asked = [0]

        def judge(x):
            asked[0] += 1
            if asked[0] == stop:
                raise KeyboardInterrupt
            return one_mark(x)

        S = zmax.score(judge, name="judge", per_sample=True, parse="score")
        if out.exists():
            return zmax.resume(out, generator=identity(), score=S)
        return zmax.maximize(identity(), S, "snes", budget=60, out=out, guard="report", max_failures=1)

    run(tmp_path / "a", 41)
    whole, cut = run(tmp_path / "b", 0), run(tmp_path / "a", 0)
    assert whole.ledger.score_calls == cut.ledger.score_calls == 60
    assert whole.history.whys == cut.history.whys
    assert len(whole.history.whys) > 40
    assert [(e.id, e.why) for e in whole.leaders] == [(e.id, e.why) for e in cut.leaders]


def test_samples_that_return_are_explained_as_before() -> None:
    G = zmax.generator(lambda z: ["ab"[int(v > 0)] for v in z[:, 0]], shape=(4,), modality="text")
    r = zmax.maximize(G, zmax.score(lambda s: [(ord(t), f"it is {t}") for t in s], parse=0), "random", budget=40)
    assert r.ledger.recalled > 0
    assert set(r.history.whys.values()) == {"it is a", "it is b"}
    assert r.best.why == "it is b"


def test_servers_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = {id_: replies[text] for id_, text in zip(asked["ids"], asked["samples"], strict=True)}
            whys = {id_: f"seen {text}" for id_, text in zip(asked["ids"], asked["samples"], strict=True)}
            body = json.dumps({"scores": said, **({"whys": whys} if explains else {})}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/judge"
    replies, explains = {"a": 4, "b": "Score: 2/5", "c": "no idea"}, True
    told = {a.row: a for a in RemoteScore(url).answers(["a", "b", "c"])}
    assert (told[0].value, told[0].why) == (4.0, "seen a")
    assert all("is in words" in told[i].failure and "parse=" in told[i].failure for i in (1, 2))
    explains = False
    told = {a.row: a for a in RemoteScore(url, parse="score").answers(["b", "c"])}
    assert (told[0].value, told[0].why) == (2.0, "Score: 2/5")
    assert "no idea" in told[1].failure
    server.shutdown()
    server.server_close()


def entry(i: int, score: float, plausibility: float, u: torch.Tensor) -> Entry:
    return Entry(id=i, score=score, plausibility=plausibility, u=u, z=u, sample=None)


@pytest.mark.parametrize("batch", [1, 3, 12])
def test_of_equal_scores_the_more_plausible_leads(batch: int) -> None:
    rng = torch.Generator().manual_seed(0)
    u, score = torch.randn(12, 64, generator=rng), torch.tensor([5.0, 4.0, 5.0] * 4)
    likely = torch.rand(12, generator=rng)
    leaders = Leaders(3)
    for at in range(0, 12, batch):
        rows = slice(at, at + batch)

        def build(i: int, at: int = at) -> Entry:
            return entry(at + i, float(score[at + i]), float(likely[at + i]), u[at + i])

        leaders.offer(u[rows], score[rows], at, build, None, likely[rows])
    best = sorted(range(12), key=lambda i: (-float(score[i]), -float(likely[i])))[:3]
    assert [e.id for e in leaders.entries] == best == distinct(u, score, 3, None, likely)
    journal = Journal(None)
    journal.keep("leader", list(reversed(leaders.entries)))
    assert [e.id for e in journal.kept("leader")] == best


def test_the_best_of_a_run_with_marks_is_the_most_plausible_of_the_best() -> None:
    r = zmax.maximize(identity(), zmax.score(marks, parse=PARSE), "random", budget=200)
    top = r.history.plausibility[r.history.score == r.best.score]
    assert len(top) > 3
    assert r.best.plausibility == max(top)
