"""The page of a condition says what the result says, and exists however the condition ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

import zmax
from tests.report.test_page import EVIL, Page
from zmax.core.budget import Budget
from zmax.core.settings import AND
from zmax.report import export_samples
from zmax.report.conditioning import write_conditioning
from zmax.report.conditioning.page import levels, render
from zmax.report.conditioning.verdict import judge
from zmax.results import ConditionResult, ConditionSpec, Look
from zmax.results.conditioning import ASKED
from zmax.store import Entry, Journal

SPEC = ConditionSpec("G", "S", "flow", Budget(score_calls=400), verb="condition", objects=("generator",))
ASKS = np.linspace(-1.0, 1.0, 80)


def compared(name: str = "S", guidance: float = 0.0, error: float = 0.1) -> dict[str, Any]:
    """Requests all over [-1, 1], and what came, off by so much to either side."""
    achieved = (ASKS + error * np.where(np.arange(80) % 2, 1, -1)).tolist()
    known = {"name": name, "guidance": guidance, "spread": 0.5, "lowest": -1.0, "highest": 1.0}
    return {**known, "asked": ASKS.tolist(), "achieved": [None, *achieved[1:]]}


def levels_of(frechet: float, distance: float) -> list[dict[str, float]]:
    """Nine levels at which samples are so far from the data, and from each other."""
    known = {"frechet": frechet, "frechet_data": 0.125, "distance": distance, "distance_data": 2.0}
    return [{"asked": -0.8 + 0.2 * i, **known} for i in range(9)]


def entry(i: int, names: Sequence[str], sample: Any, held_out: float | None) -> Entry:
    parts = {f"{ASKED} {name}": -1 + i / 18 for name in names}
    parts |= dict.fromkeys(names, -0.9 + i / 18) if len(names) > 1 else {}
    u = torch.zeros(2)
    return Entry(i, -0.9 + i / 18, 0.5, u, u, sample, parts, held_out)


LOOKS = [Look(i, i, 40 * i, 90, 0, 1.0, [0.0] * 4, asked=[[0.0] * 4], achieved=[[0.8 / (i + 1)] * 4]) for i in range(3)]


@pytest.fixture
def made() -> Callable[..., ConditionResult]:
    """Build a result from its pieces, as a condition would have journalled them."""

    def build(
        calibrations: Sequence[dict[str, Any]] = (compared(),),
        looks: Sequence[Look] = LOOKS,
        sample: Any = "words",
        judged: Sequence[float | None] = (None,) * 36,
        stop_reason: str = "trained",
        **spec: Any,
    ) -> ConditionResult:
        journal = Journal.create(None, {"spec": replace(SPEC, **spec).as_json(), "learned": 300})
        names = list(dict.fromkeys(one["name"] for one in calibrations))
        journal.keep(ASKED, [entry(i, names, sample, judged[i]) for i in range(36)] if names else [])
        for key, value in {"calibrations": list(calibrations), "looks": [asdict(look) for look in looks]}.items():
            journal.set(key, value)
        journal.set("checks", [["scores differ", True, "1 of 300"]])
        journal.set("stop_reason", stop_reason)
        return ConditionResult(journal)

    return build


def test_numbers_on_the_page_are_those_of_the_result(made):
    result = made()
    page = render(result)
    shown = {float(v) for v in Page(page).values("data", "value") if v}
    one = result.calibration
    assert {one.label_score, one.rho, 300.0} <= shown
    assert one.trusted is not None
    assert one.trusted[0] in shown
    for kept in result.asked:
        assert {kept.parts[f"{ASKED} S"], kept.score} <= shown
    assert "it had taken all the steps that the method trains for" in page
    assert render(result) == page


def test_samples_stand_at_nine_levels_from_the_lowest_request_to_the_highest(made):
    found = levels(made())
    assert [len(level) for level in found] == [4] * 9
    asked = [sample.pairs[0][1] for level in found for sample in level]
    assert asked == sorted(asked)


def test_one_panel_for_each_score_and_guidance_and_one_for_learning(made):
    several = [compared(name, w) for w in (0.0, 1.0) for name in ("S", "T")]
    looks = [replace(look, asked=look.asked * 2, achieved=look.achieved * 2) for look in LOOKS]
    result = made(several, looks, score=f"S{AND}T")
    page = render(result)
    assert page.count("Requested and achieved: ") == 4
    assert "Label Score while it learned" in page
    assert "Asking <em>G</em> for <em>S, T</em>" in page
    assert [name for name, _, _ in levels(result)[0][0].pairs] == ["S", "T"]


def test_the_verdict_follows_the_numbers(made):
    good = judge(made())
    assert good.verdict.status == "ok"
    assert good.headline.startswith("What comes is near what was asked. Trust requests from −0.9")
    bad = judge(made([compared(error=0.3)]))
    assert bad.verdict.status == "warn"
    assert [check.status for check in bad.verdict.checks] == ["warn", "warn", "ok"]
    assert bad.headline == "What comes is not always near what was asked of S."


def test_guidance_that_helps_is_pointed_at(made):
    assert judge(made([compared(), compared(guidance=1.0)])).hint == ""
    better = judge(made([compared(), compared(guidance=1.0, error=0.05)]))
    assert better.hint.startswith("Guidance of 1 brings the Label Score of S to 0.1")


@pytest.mark.parametrize(("slope", "status"), [(1.0, "ok"), (-1.0, "warn"), (0.0, "unknown")])
def test_a_held_out_score_that_falls_as_more_is_asked_for_warns(made, slope, status):
    result = made(judged=[slope * i for i in range(36)], held_out="judge")
    assert judge(result).verdict.checks[-1].status == status
    assert ("Held-out score" in render(result)) == (len(result.asked) > 0)


def test_what_users_name_is_escaped(made):
    page = render(made([compared(EVIL)], sample=EVIL, generator=EVIL, score=EVIL))
    assert EVIL not in page


@pytest.mark.parametrize("looks", [[], LOOKS[:1], LOOKS])
def test_unfinished_runs_have_a_page(made, looks, tmp_path):
    result = made([], looks, stop_reason="not finished")
    assert judge(result).headline == "There is nothing to judge yet."
    file = write_conditioning(result, tmp_path / "page.html")
    assert "requests were not compared with what comes" in file.read_text()


def test_samples_are_exported_with_what_was_asked_in_their_names(made, tmp_path):
    result = made(sample=torch.rand(3, 8, 8), modality="image")
    files = export_samples(result, tmp_path)
    assert len(files) == 36
    assert files[0].name == "01_asked_-1_-0.9.png"
    assert len(export_samples(result, tmp_path)) == len(list(tmp_path.iterdir())) - len([".samples"]) == 36


@pytest.mark.filterwarnings("ignore:samples of .* seem to be pictures")
def test_a_real_condition_has_a_page_with_pictures():
    body = torch.nn.Sequential(torch.nn.Linear(193, 192), torch.nn.Unflatten(1, (3, 8, 8)))

    class Velocity(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return self.body(torch.cat([x.flatten(1), t[:, None]], 1))

    G = zmax.diffusion(
        Velocity(), shape=(3, 8, 8), schedule="rectified-flow", steps=2, parametrisation="velocity", modality="image"
    )
    S = zmax.score(lambda x: x.mean((1, 2, 3)), name="bright", differentiable=False)
    H = zmax.score(lambda x: x[:, 0].mean((1, 2)), name="red", differentiable=False)
    params = {"steps": 50, "batch": 8}
    c = zmax.condition(G, S, budget=160, fresh=8, looks=1, held_out=H, params=params, progress=False)
    page = render(c)
    assert page.count("<img") == len(c.asked) > 8
    assert all(entry.held_out is not None for entry in c.asked)
    assert "Held-out score" in page


def test_samples_beside_the_data_have_a_figure_numbers_and_a_rule(made):
    near, alike = (made([compared() | {"levels": levels_of(0.25, d), "seen_by": "J"}]) for d in (1.9, 1.0))
    page = render(near)
    assert "Samples beside data of that score" in page
    assert "in the features of J" in page
    assert {"0.25", "0.125", "0.95"} <= {text.strip() for text in Page(page).texts}
    assert judge(near).verdict.status == "ok"
    bad = judge(alike).verdict.checks[3]
    assert (bad.status, bad.found) == ("warn", "Two samples are 0.5 times as far apart as two of the data.")
