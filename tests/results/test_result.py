"""A result says what its journal holds, best first."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch

import zmax
from zmax.core.errors import FailedRunError, InputError
from zmax.results import Result, RunSpec
from zmax.store import REFERENCE, Chunk, Entry, Journal, Position

SPEC = RunSpec("g", "s", "random", zmax.Budget(score_calls=9), keep=3)
INF = float("inf")


def entry(i: int, score: float) -> Entry:
    point = torch.full((2,), float(i))
    return Entry(i, score, 0.5, point, point, "x", {"a": score}, held_out=None)


def chunk(round_: int, offset: int, score: list[float], **more) -> Chunk:
    n, first = len(score), 10 * (round_ + 1) + offset
    u = torch.arange(first, first + n).float()[:, None].expand(n, 2).clone()
    ledger = zmax.Ledger(score_calls=first + n)
    parts = {"a": torch.tensor(score)}
    where = {"u": u, "plausibility": torch.ones(n), **more}
    return Chunk(round_, offset, first, torch.tensor(score), parts=parts, ledger=ledger, **where)


@pytest.fixture
def journal() -> Journal:
    made = Journal.create(None, {"spec": SPEC.as_json()})
    made.append(chunk(REFERENCE, 0, [0.0, 1.0]), [], [], [entry(7, 5.0), entry(3, 9.0)])
    made.append(chunk(0, 0, [1.0]), [entry(20, 1.0), entry(21, 4.0), entry(22, 2.0)])
    return made


def test_leaders_come_best_first_and_the_others_in_the_order_they_were_drawn(journal):
    journal.keep("draw", [entry(-1, 0.0), entry(-2, 5.0), entry(-3, 1.0)])
    result = Result(journal)
    assert [e.id for e in result.leaders] == [21, 22, 20]
    assert [e.id for e in result.reference] == [3, 7]
    assert [e.id for e in result.draws] == [-1, -2, -3]
    assert result.best.id == 21
    assert [e.id for e in result.top(2)] == [21, 22]
    assert [e.id for e in result.top()] == [21, 22, 20]


def test_top_gives_what_was_kept_and_no_more(journal):
    assert len(Result(journal).top(3)) == 3
    with pytest.raises(InputError, match="keep=4"):
        Result(journal).top(4)


def test_a_run_without_a_score_has_no_best_and_says_why():
    journal = Journal.create(None, {"spec": SPEC.as_json()})
    with pytest.raises(FailedRunError, match="no evaluation"):
        _ = Result(journal).best
    journal.append(chunk(REFERENCE, 0, [-INF, -INF], failures={1: "too hot"}))
    with pytest.raises(FailedRunError, match="too hot"):
        _ = Result(journal).best
    assert Result(journal).summary()["best"] is None


def test_what_the_run_left_is_told_and_what_it_did_not_leave_has_a_plain_default(journal):
    assert (Result(journal).stop_reason, Result(journal).noise, Result(journal).watched) == ("not finished", None, [])
    looks = [{"look": 1, "calls": 5, "score": 1.0, "held_out": 2.0}]
    for key, value in {"stop_reason": "nfe", "noise": 0.25, "watched": looks}.items():
        journal.set(key, value)
    assert (Result(journal).stop_reason, Result(journal).noise, Result(journal).watched) == ("nfe", 0.25, looks)


def test_the_population_is_the_last_rounds_points_where_the_method_names_none(journal):
    journal.append(chunk(1, 0, [2.0, 3.0]))
    journal.append(chunk(1, 2, [4.0]))
    journal.append(chunk(2, 0, [9.0], u=None, plausibility=None, digest=torch.zeros(1, 8).byte()))
    population = Result(journal).population
    assert population.u[:, 0].tolist() == [20, 21, 22]
    assert population.score.tolist() == [2, 3, 4]
    assert population.log_weight.exp().tolist() == pytest.approx([1 / 3] * 3)


def test_a_run_that_ended_at_the_reference_has_an_empty_population():
    journal = Journal.create(None, {"spec": SPEC.as_json()})
    journal.append(chunk(REFERENCE, 0, [1.0]))
    assert len(Result(journal).population.u) == 0


def test_the_summary_holds_the_figures(journal):
    summary = Result(journal).summary()
    best = {"id": 21, "score": 4.0, "plausibility": 0.5, "realism": None, "held_out": None, "parts": {"a": 4.0}}
    assert summary["best"] == best | {"feasible": True, "why": ""}
    assert summary["meeting"] == ""
    assert [row["id"] for row in summary["top"]] == [21, 22, 20]
    assert [row["id"] for row in summary["reference"]] == [3, 7]
    assert summary["ledger"]["score_calls"] == 11
    assert (summary["command"], summary["folder"]) == (SPEC.command(), None)


def test_a_saved_run_is_the_same_and_is_not_written_over_another(journal, tmp_path):
    result = Result(journal)
    assert result.save(tmp_path / "a") == tmp_path / "a"
    loaded = zmax.load_result(tmp_path / "a")
    assert loaded.folder == tmp_path / "a"
    assert loaded.save(tmp_path / "a") == tmp_path / "a"  # where it is already
    assert {**loaded.summary(), "folder": None} == result.summary()
    with pytest.raises(InputError, match="already holds a run"):
        result.save(tmp_path / "a")


def test_a_page_goes_beside_the_run_or_where_it_is_told(journal, tmp_path):
    with pytest.raises(InputError, match="needs a place"):
        Result(journal).report()
    loaded = zmax.load_result(Result(journal).save(tmp_path / "run"))
    assert loaded.report() == tmp_path / "run" / "report.html"
    assert loaded.report(str(tmp_path / "page.html")) == Path(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == (tmp_path / "run" / "report.html").read_text()


def halves(x):
    return {"left": x[:, 0].sigmoid(), "right": x[:, 1].sigmoid()}


@pytest.mark.parametrize("guard", ["retract", "penalise"])
def test_an_archive_is_found_in_the_state_of_its_method_also_inside_a_guard(guard):
    G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector")
    method = zmax.search.CMAMAE(descriptor=halves, cells=3, population=8, retract=guard == "retract")
    r = zmax.maximize(G, lambda x: x[:, 2], method, 200, guard=guard)
    assert r.descriptors == ("left", "right")
    assert r.archive.cells.tolist() == [3, 3]
    assert r.archive.best == pytest.approx(max(e.score for e in r.elites))


def test_other_methods_have_no_archive(journal):
    assert (Result(journal).archive, Result(journal).descriptors) == (None, ())
    G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector")
    r = zmax.maximize(G, lambda x: x[:, 2], "snes", 60)
    assert (r.archive, r.descriptors, r.elites) == (None, (), ())


def test_the_state_of_a_method_runs_no_code(journal):
    class Evil:
        def __reduce__(self):
            return (print, ("owned",))

    file = io.BytesIO()
    torch.save({"archive": Evil()}, file)
    journal.checkpoint(Position(1, 5, file.getvalue()))
    with pytest.raises(pickle.UnpicklingError):
        _ = Result(journal).archive
