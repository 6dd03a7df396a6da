"""The page of a finetune says what the result says, and exists however the finetune ended."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zmax
from tests.report.test_page import EVIL, Page
from zmax.core.budget import Budget
from zmax.core.errors import FailedRunError, InputError
from zmax.finetune import Direct
from zmax.report import export_samples
from zmax.report.tuning import write_tuning
from zmax.report.tuning.page import render
from zmax.report.tuning.pairs import pairs
from zmax.report.tuning.verdict import judge
from zmax.results import Look, TuneResult, TuneSpec, load_result
from zmax.store import Entry, Journal

SPEC = TuneSpec("my-generator", "my-score", "direct", Budget(score_calls=100), verb="finetune", objects=("generator",))
RISING = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
PARENT = Look(
    0, 0, 0, 8, 8, 1.0, RISING, RISING, [0.5] * 8, 4.0, 0.1, 3.0,
    {"edges": 0.2, "colours": 2.0, "norm": 9.0, "dark": 0.0}, 0.0, 0.0, 0.0, 0.0, 0.0,
)  # fmt: skip
CHILD = replace(
    PARENT, look=1, updates=40, score_calls=90, scores=[v + 5 for v in RISING], held_out=[v + 4 for v in RISING],
    kl=0.3, kl_error=0.05, slope=0.5, loss=0.5, moved=0.01,
)  # fmt: skip


@pytest.fixture(scope="module")
def tuned() -> TuneResult:
    """A real finetune: pictures, log-odds, a held-out score."""
    torch_layers = [torch.nn.Linear(8, 3 * 16), torch.nn.Sigmoid(), torch.nn.Unflatten(1, (3, 4, 4))]
    G = zmax.generator(torch.nn.Sequential(*torch_layers), shape=(8,), modality="image", name="G")
    S = zmax.score(lambda x: 8 * x.mean((1, 2, 3)) - 4, name="bright", differentiable=True, unit="log-odds")
    H = zmax.score(lambda x: x[:, 0].mean((1, 2)), name="red", differentiable=True)
    method = Direct(batch=16, keep=0.0)
    return zmax.finetune(G, S, method, 300, held_out=H, rate=1e-2, looks=4, progress=False)


@pytest.fixture
def made() -> Callable[..., TuneResult]:
    """Build a result from its looks, as a finetune would have journalled them."""

    def build(
        looks: Sequence[Look] = (PARENT, CHILD),
        chosen: int | None = None,
        sample: Any = "words",
        checks: Sequence[Sequence[Any]] = (("scores differ", True, "1 of 8"),),
        stop_reason: str | None = "score_calls",
        **spec: Any,
    ) -> TuneResult:
        journal = Journal.create(None, {"spec": replace(SPEC, **spec).as_json(), "ledger": vars(zmax.Ledger())})
        facts = {"looks": [asdict(look) for look in looks], "recipe": {"rate": 1e-3, "clip": 1.0}, "checks": checks}
        number = len(looks) - 1 if chosen is None else chosen
        for key, value in {**facts, "chosen": [max(0, number), "the last weights"], "stop_reason": stop_reason}.items():
            if value is not None:
                journal.set(key, value)
        for look in looks:
            journal.keep(f"look {look.look}", [entry(i, score, sample) for i, score in enumerate(look.scores)])
        return TuneResult(journal)

    return build


def entry(i: int, score: float, sample: Any) -> Entry:
    u = torch.full((3,), float(i))
    return Entry(id=i, score=score, plausibility=0.5, u=u, z=u, sample=sample)


def status(result: TuneResult, rule: str) -> str:
    return next(check.status for check in judge(result).verdict.checks if rule in check.rule)


def test_it_tells_all_that_was_asked_for(tuned: TuneResult) -> None:
    text = render(tuned)
    page = Page(text)
    assert page.open == []
    words = " ".join(page.texts)
    for heading in ("The same noises", "How it went", "Frontier", "Score of fresh samples", "Held-out score",
                    "Natural and diverse", "Statistics of the samples", "Did it work?", "Every look",
                    "Before the first update", "What it cost", "Do it again", "zmax.finetune(G, S"):  # fmt: skip
        assert heading in words
    assert not re.findall(r"https?://|@import|url\((?!#)", text)
    assert page.tags.count("img") == 32
    ids = page.values("div", "id") + page.values("h2", "id")
    assert len(ids) == len(set(ids))


def test_numbers_on_the_page_are_those_of_the_result(tuned: TuneResult) -> None:
    shown = {float(v) for v in Page(render(tuned)).values("data", "value") if v}
    before, after = tuned.before, tuned.after
    expected = {e.score for e in (*before.entries, *after.entries)} | set(before.look.held_out[:16])
    expected |= {after.look.score, after.look.judged, after.look.kl, after.quantile(0.05), after.quantile(0.5)}
    assert expected - shown == set()
    assert render(tuned) == render(tuned)


def test_pairs_have_one_noise_each_and_every_number(tuned: TuneResult) -> None:
    found = pairs(tuned)
    assert len(found) == 16
    for i, pair in enumerate(found):
        assert torch.equal(pair.before.entry.u, pair.after.entry.u)
        changes = {name: (old, new) for name, old, new in pair.changes}
        assert changes["score"] == (tuned.before.look.scores[i], tuned.after.look.scores[i])
        assert changes["held-out"] == (tuned.before.look.held_out[i], tuned.after.look.held_out[i])


def test_held_out_scores_find_their_samples_past_failures(made: Callable[..., TuneResult]) -> None:
    failed = replace(CHILD, scores=[-math.inf, 2.0, -math.inf, 3.0], held_out=[7.0, 8.0], realism=[0.1, 0.2, 0.3, 0.4])
    after = [pair.after.entry for pair in pairs(made((PARENT, failed)))]
    assert [e.held_out for e in after] == [None, 7.0, None, 8.0]
    assert [e.realism for e in after] == [0.1, 0.2, 0.3, 0.4]


VERDICTS: list[tuple[str, dict[str, Any], str]] = [
    ("score of fresh samples rose", {}, "ok"),
    ("score of fresh samples rose", {"scores": RISING}, "warn"),
    ("score of fresh samples rose", {"scores": [v + (-1) ** v for v in RISING]}, "unknown"),
    ("held-out score", {}, "ok"),
    ("held-out score", {"held_out": [v - 1 for v in RISING]}, "warn"),
    ("share of realism", {"realism": [0.5] * 7 + [0.01]}, "ok"),
    ("share of realism", {"realism": [0.5] * 4 + [0.01] * 4}, "warn"),
    ("Samples differ", {"distance": 2.9}, "ok"),
    ("Samples differ", {"distance": 2.7}, "warn"),
    ("Samples differ", {"vendi": 2.0}, "warn"),
    ("Colours, edges", {"statistics": {"edges": 0.15, "colours": 1.5, "norm": 9.0, "dark": 0.2}}, "ok"),
    ("Colours, edges", {"statistics": {"edges": 0.13, "colours": 2.0, "norm": 9.0, "dark": 0.0}}, "warn"),
    ("Colours, edges", {"statistics": {"edges": 0.2, "colours": 1.3, "norm": 9.0, "dark": 0.0}}, "warn"),
    ("Colours, edges", {"statistics": {"edges": 0.2, "colours": 2.0, "norm": 9.0, "dark": 0.4}}, "warn"),
    ("best-of-n", {"kl": 0.01}, "ok"),
    ("best-of-n", {"kl": 9.0, "held_out": [20.0] * 8}, "unknown"),
    ("best-of-n", {"kl": 9.0, "held_out": [v + 0.1 for v in RISING]}, "warn"),
    ("best-of-n", {"kl": math.nan}, "unknown"),
]


@pytest.mark.parametrize(("rule", "change", "expected"), VERDICTS)
def test_each_rule_finds_what_it_is_for(
    made: Callable[..., TuneResult], rule: str, change: dict[str, Any], expected: str
) -> None:
    assert status(made((PARENT, replace(CHILD, **change))), rule) == expected


def test_the_headline_sums_up(made: Callable[..., TuneResult]) -> None:
    def said(chosen: int = 1, **change: Any) -> str:
        return judge(made((PARENT, replace(CHILD, **change)), chosen)).headline

    assert said(kl=0.01) == "The score rose, and no sign says that it is fooled."
    assert said(distance=1.0) == "The score rose, and there are signs that it is fooled."
    assert said(scores=RISING) == "The score of fresh samples did not rise."
    assert said(held_out=[], kl=math.nan) == "The score rose; no judge has confirmed it."
    assert said(0) == "What is returned is the parent: the last weights."


def test_why_it_stays_is_on_the_page(made: Callable[..., TuneResult]) -> None:
    still = made((PARENT, replace(CHILD, scores=RISING, slope=0.0)))
    assert still.still.startswith("the gradient is zero")
    assert f"By the last look the score has not risen: {still.still}." in " ".join(Page(render(still)).texts)
    assert made().still == ""


ODD: dict[str, dict[str, Any]] = {
    "no look": {"looks": (), "checks": ()},
    "unfinished": {"looks": (PARENT,), "stop_reason": None},
    "interrupted": {"stop_reason": "interrupted"},
    "all failed": {"looks": (replace(PARENT, scores=[-math.inf] * 4, held_out=[], realism=[], statistics={}),)},
    "failed": {"stop_reason": "failed: 60 % of the last 64"},
    "parent returned": {"chosen": 0},
    "one sample": {"looks": (replace(PARENT, scores=[1.0], held_out=[], realism=[]),) * 2},
    "child failed": {"looks": (PARENT, replace(CHILD, scores=[-math.inf] * 8, held_out=[], kl=math.nan))},
    "texts": {"modality": "text"},
    "vectors": {"sample": torch.tensor([1.0, -2.0]), "modality": "vector"},
    "pictures": {"sample": torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)), "modality": "image"},
    "nothing measured": {"looks": (PARENT, replace(CHILD, distance=math.nan, vendi=math.nan, statistics={}))},
}


@pytest.mark.parametrize("case", ODD)
def test_every_finetune_has_a_page(made: Callable[..., TuneResult], case: str) -> None:
    page = Page(render(made(**ODD[case])))
    text = " ".join(page.texts)
    assert page.open == []
    assert "Did it work?" in text
    assert not re.search(r"\b(nan|inf)\b", text)


def test_outside_text_is_escaped_everywhere(made: Callable[..., TuneResult]) -> None:
    fields = {"generator": EVIL, "score": EVIL, "method": EVIL, "held_out": EVIL, "unit": EVIL, "reason": EVIL}
    checks = [[EVIL, True, EVIL]]
    page = Page(render(made(sample=EVIL, checks=checks, stop_reason=f"failed: {EVIL}", params={EVIL: EVIL}, **fields)))
    assert "script" not in page.tags
    assert page.open == []
    assert sum(text.count("alert('x')") for text in page.texts) > 10


def test_a_finetune_in_which_all_fails_has_a_page_that_says_why(tmp_path: Path) -> None:
    G = zmax.generator(torch.nn.Linear(4, 2), shape=(4,), modality="vector")
    calls = [0]

    def sick(x: torch.Tensor) -> torch.Tensor:
        calls[0] += len(x)
        return x[:, 0] * (math.nan if calls[0] > 20 else 1.0)

    S = zmax.score(sick, differentiable=True, name="sick")
    with pytest.raises(FailedRunError):
        zmax.finetune(G, S, "direct", 200, out=tmp_path / "run", progress=False)
    text = " ".join(Page(load_result(tmp_path / "run").report().read_text()).texts)
    assert "Why evaluations failed" in text


def test_the_file_is_written_whole(tuned: TuneResult, tmp_path: Path) -> None:
    file = write_tuning(tuned, tmp_path / "deep" / "page.html")
    assert file.read_text(encoding="utf-8") == render(tuned)
    assert [p.name for p in file.parent.iterdir()] == ["page.html"]
    with pytest.raises(InputError, match="a folder"):
        write_tuning(tuned, tmp_path)


def test_samples_before_and_after_are_files(tuned: TuneResult, tmp_path: Path) -> None:
    names = {path.name for path in export_samples(tuned, tmp_path)}
    sides = {"before": tuned.before, "after": tuned.after}
    expected = {f"{e.id + 1:02d}_{side}_{e.score:.6g}.png" for side, fresh in sides.items() for e in fresh.entries}
    assert names == expected == {path.name for path in tmp_path.iterdir()} - {".samples"}
    export_samples(tuned, tmp_path)
    assert len(list(tmp_path.iterdir())) == 32 + 1


def test_texts_before_and_after_stand_in_one_file(made: Callable[..., TuneResult], tmp_path: Path) -> None:
    (file,) = export_samples(made(sample="some words", modality="text"), tmp_path)
    text = file.read_text()
    assert "# 01_before  score 0  " in text
    assert "# 01_after  score 5  " in text
    assert "after" not in export_samples(made(chosen=0), tmp_path)[0].read_text()
