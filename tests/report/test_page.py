"""The page holds all it shows, says what the result says, and exists for every run however it ended."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zmax
from zmax.core.errors import InputError
from zmax.report import write_report
from zmax.report.measures import probability
from zmax.report.page import render
from zmax.results import Result
from zmax.store import REFERENCE, Chunk, Entry

NAN = float("nan")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collect attributes, text by tag, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, tag: str, name: str) -> list[str]:
        return [v for t, n, v in self.attributes if (t, n) == (tag, name)]


@pytest.fixture(scope="module")
def run() -> Result:
    """A real run: pictures, log-odds, two parts, a held-out score."""
    G = zmax.generator(lambda z: z.sigmoid().reshape(-1, 1, 2, 4).expand(-1, 3, 2, 4), shape=(8,), modality="image")
    a = zmax.score(lambda x: 8 * x.mean((1, 2, 3)) - 4, name="bright", differentiable=True, unit="log-odds")
    b = zmax.score(lambda x: -x.var((1, 2, 3)), name="even", differentiable=True)
    return zmax.maximize(G, a + b, method="gradient", budget=320, held_out=a, progress=False)


@pytest.fixture(scope="module")
def text(run: Result) -> str:
    return render(run)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_nothing_is_fetched(text: str, page: Page) -> None:
    fetching = [v for _, n, v in page.attributes if n in {"src", "href", "srcset", "action", "data", "poster"}]
    assert fetching
    assert all(v.startswith(("data:image/", "#")) for v in fetching)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert not re.findall(r"https?://|@import|url\((?!#)", text)


def test_every_tag_is_closed_and_no_id_occurs_twice(page: Page) -> None:
    assert page.open == []
    ids = [v for _, n, v in page.attributes if n == "id"]
    assert len(ids) == len(set(ids))


def test_references_inside_the_page_lead_somewhere(text: str, page: Page) -> None:
    ids = {v for _, n, v in page.attributes if n == "id"}
    targets = re.findall(r'(?:url\(#|href="#)([^)"]+)', text) + page.values("section", "aria-labelledby")
    assert targets
    assert set(targets) <= ids


def test_numbers_on_the_page_are_those_of_the_result(run: Result, page: Page) -> None:
    shown = {float(v) for v in page.values("data", "value") if v}
    kept = [*run.leaders, *run.reference]
    expected = {e.score for e in kept} | {e.plausibility for e in kept} | {e.held_out for e in kept}
    expected |= {v for e in kept for v in e.parts.values()} | {float(run.ledger.score_calls)}
    expected |= {float(np.mean([e.score for e in run.leaders])), float(np.mean([e.score for e in run.reference]))}
    assert expected - shown == set()


def test_it_tells_all_that_was_asked_for(run: Result, page: Page) -> None:
    text = " ".join(page.texts)
    headings = ["Before and after", "How it went", "Is it fooling the score?", "What it cost", "Do it again"]
    figures = ["Best score so far", "Score against plausibility", "Held-out score against score"]
    for words in [*headings, *figures, "Part: bright", "Part: even", run.spec.method, run.spec.score, "Peak memory"]:
        assert words in text
    assert page.tags.count("img") == len(run.leaders[:16]) + len(run.reference[:16])
    assert page.tags.count("h1") == 1


def test_pictures_and_figures_have_alternative_texts(page: Page) -> None:
    assert all(page.values("img", "alt"))
    assert len(page.values("img", "alt")) == len(page.values("img", "src"))
    assert sum(v == "img" for v in page.values("div", "role")) == page.tags.count("figure") == 6


def test_pictures_come_back_pixel_by_pixel(run: Result, page: Page) -> None:
    for source, entry in zip(page.values("img", "src"), [*run.reference[:16], *run.leaders[:16]], strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2])))
        expected = (entry.sample * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(np.asarray(image), expected)


def test_a_page_is_the_same_every_time(run: Result, text: str) -> None:
    assert render(run) == text


def test_thirty_two_pictures_stay_below_a_megabyte(make: Callable[..., Result]) -> None:
    rng = torch.Generator().manual_seed(0)
    noise = [_entry(i, 1.0, torch.rand(3, 512, 384, generator=rng)) for i in range(32)]
    text = render(make(noise[:16], noise[16:], modality="image"))
    assert text.count("data:image/") == 32
    assert len(text.encode()) < 1_000_000


def test_ten_thousand_evaluations_stay_below_a_megabyte(make: Callable[..., Result]) -> None:
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(10_000, generator=rng).tolist()
    text = render(make([_entry(0, max(rows), "x")], (), [_chunk(0, 0, rows)]))
    assert len(text.encode()) < 1_000_000
    assert "2,500 of 10,000 are shown" in text


def test_log_odds_come_with_probabilities(make: Callable[..., Result]) -> None:
    kept = [_entry(0, 0.0, "a", held_out=-40.0)]
    text = " ".join(Page(render(make(kept, kept, unit="log-odds", held_out="judge", held_out_unit="log-odds"))).texts)
    assert "probability 50.0%" in text
    assert "<0.1%" in text
    assert probability(2.0) == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert "probability" not in " ".join(Page(render(make(kept, kept, unit="kB"))).texts)


EVIL = "<script>alert('x')</script>\"&$\\frac$"


@pytest.mark.parametrize("modality", ["text", "other", "image", "vector"])
def test_outside_text_is_escaped_everywhere(make: Callable[..., Result], modality: str) -> None:
    sample: object = EVIL if modality != "other" else {"key": EVIL}
    kept = [_entry(i, 1.0 + i, sample, held_out=1.0, parts={EVIL: 1.0}) for i in range(3)]
    chunks = [_chunk(REFERENCE, 0, [1.0, 2.0, NAN], parts={EVIL: torch.ones(3)}, failures={2: EVIL})]
    fields = {"generator": EVIL, "score": EVIL, "method": EVIL, "held_out": EVIL, "unit": EVIL, "reason": EVIL}
    result = make(kept, kept, chunks, stop_reason=f"failed: {EVIL}", modality=modality, params={EVIL: EVIL}, **fields)
    page = Page(render(result))
    assert "script" not in page.tags
    assert page.open == []
    assert sum(text.count("alert('x')") for text in page.texts) > 10


def test_text_samples_are_shown_as_they_are(make: Callable[..., Result]) -> None:
    page = Page(render(make([_entry(0, 1.0, "two\n  lines & <b>")], modality="text")))
    assert "two\n  lines & <b>" in page.texts


def test_vectors_are_drawn_to_one_scale(make: Callable[..., Result]) -> None:
    kept = [_entry(0, 1.0, torch.tensor([4.0, -2.0])), _entry(1, 0.0, torch.tensor([1.0, NAN]))]
    page = Page(render(make(kept, modality="vector")))
    bars = [float(v) for v in page.values("rect", "height")]
    assert bars[:4] == [30.0, 15.0, 7.5, 0.0]


def test_the_command_repeats_the_run_where_it_can(make: Callable[..., Result]) -> None:
    known = make(generator="avatars-gan", score="brightness", objects=())
    assert known.spec.command() in Page(render(known)).texts
    text = " ".join(Page(render(make(method="cma", params={"step": 0.2}, held_out="h", keep=4))).texts)
    assert "zmax.maximize(G, S, method='cma', params={'step': 0.2}, budget=100, seed=0, batch_size=32, " in text
    assert "held_out=H, keep=4)" in text
    assert "lives in a program" in text


def _entry(i: int, score: float, sample: object, **more: object) -> Entry:
    u = torch.full((3,), float(i))
    return Entry(**{"id": i, "score": score, "plausibility": 0.5, "u": u, "z": u, "sample": sample, **more})  # type: ignore[arg-type]


def _chunk(round_: int, first: int, scores: list[float], **more: object) -> Chunk:
    n = len(scores)
    score = torch.tensor(scores).nan_to_num(float("-inf"))
    data = {"u": torch.zeros(n, 3), "score": score, "plausibility": torch.linspace(0, 1, n), **more}
    ledger = zmax.Ledger(score_calls=first + n, seconds=1.0)
    return Chunk(round=round_, offset=0, first_id=first, ledger=ledger, **data)  # type: ignore[arg-type]


def _odd() -> dict[str, dict[str, object]]:
    kept = [_entry(i, float(i), "s", held_out=0.5 * i) for i in range(6)]
    infinite = [_chunk(REFERENCE, 0, [1.0, NAN]), _chunk(0, 2, [NAN, NAN, 3.0, -1e30])]
    unjudged = [_entry(i, 1.0, "s", held_out=NAN) for i in range(5)]
    return {
        "no held-out": {"leaders": kept, "reference": kept},
        "no reference succeeded": {"leaders": kept, "reference": (), "held_out": "h"},
        "every sample failed": {"chunks": [_chunk(REFERENCE, 0, [NAN] * 4, failures=dict.fromkeys(range(4), "no"))]},
        "failed run": {"leaders": kept, "reference": kept, "stop_reason": "failed: 60% of the last 64\n  got: no"},
        "failed without words": {"stop_reason": "failed"},
        "unfinished": {"leaders": kept, "reference": kept, "stop_reason": None, "held_out": "h"},
        "interrupted": {"leaders": kept, "reference": kept, "stop_reason": "interrupted"},
        "failures in between": {"leaders": kept, "reference": kept[:1], "chunks": infinite},
        "one sample only": {"leaders": kept[:1], "reference": kept[:1], "held_out": "h"},
        "held-out fails": {"leaders": unjudged, "reference": unjudged, "held_out": "h"},
        "empty samples": {"leaders": [_entry(0, 1.0, ""), _entry(1, 1.0, [])], "reference": [_entry(2, 1.0, None)]},
        "odd pictures": {
            "leaders": [_entry(0, 1.0, torch.full((1, 3, 2), NAN)), _entry(1, 1.0, torch.ones(2, 4, 4))],
            "reference": [_entry(2, 0.0, "not a picture"), _entry(3, 0.0, torch.zeros(3, 0, 4))],
            "modality": "image",
        },
        "extreme numbers": {"leaders": [_entry(0, 1e30, "s", plausibility=0.0), _entry(1, -0.0, "t")]},
    }


@pytest.mark.parametrize("case", _odd())
def test_every_run_has_a_page(make: Callable[..., Result], case: str) -> None:
    page = Page(render(make(**_odd()[case])))
    text = " ".join(page.texts)
    assert page.open == []
    assert "Before and after" in text
    assert not re.search(r"\b(nan|None|inf)\b", re.sub(r"the score is -?(nan|inf)|not a picture", "", text))


def test_a_run_in_which_all_failed_says_why(make: Callable[..., Result]) -> None:
    text = " ".join(Page(render(make(**_odd()["every sample failed"]))).texts)
    assert "found no sample that got a score" in text
    assert "Why evaluations failed" in text


def test_the_file_is_written_whole_and_replaces_the_old_page(run: Result, text: str, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "page.html"
    assert write_report(run, file) == file
    file.write_text("old")
    assert write_report(run, str(file)).read_text(encoding="utf-8") == text
    assert [p.name for p in file.parent.iterdir()] == ["page.html"]
    assert file.stat().st_mode & 0o777 == 0o644  # others may read it


def test_a_sample_that_the_held_out_score_failed_on_shows_a_dash(make: Callable[..., Result]) -> None:
    kept = [_entry(0, 1.0, "s", held_out=None)]
    assert "–" in Page(render(make(kept, held_out="h"))).texts
    assert "held-out" not in Page(render(make(kept))).texts


def test_a_folder_is_no_place_for_a_page(run: Result, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder"):
        write_report(run, tmp_path)
