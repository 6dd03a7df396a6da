"""The sentences and tiles of a page say the numbers of its run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import zmax
from zmax.report.page import lede, tiles
from zmax.report.panels import Panel, panels
from zmax.results import Result
from zmax.store import REFERENCE, Chunk, Entry

NAN = float("nan")


def entry(i: int, score: float, **more: Any) -> Entry:
    point = torch.full((3,), float(i))
    return Entry(**{"id": i, "score": score, "plausibility": 0.5, "u": point, "z": point, "sample": "s", **more})


def chunk(round_: int, first: int, scores: list[float], calls: int, **more: Any) -> Chunk:
    n = len(scores)
    values = {"u": torch.zeros(n, 3), "score": torch.tensor(scores), "plausibility": torch.full((n,), 0.5), **more}
    ledger = zmax.Ledger(score_calls=calls, seconds=2.0 * calls)
    return Chunk(round=round_, offset=0, first_id=first, ledger=ledger, **values)


CHUNKS = [chunk(REFERENCE, 0, [1.0, 2.0], 2), chunk(0, 2, [0.0, 8.0, 4.0], 5)]
RANDOM = [entry(0, 1.0, held_out=0.0), entry(1, 2.0, held_out=1.0)]
BEST = [entry(3, 8.0, held_out=6.0, plausibility=0.01), entry(4, 4.0, held_out=5.0, plausibility=0.25)]


def drawn(result: Result) -> dict[str, Panel]:
    return {panel.title: panel for panel in panels(result)}


def test_the_opening_sentence_says_cost_best_and_random(make: Callable[..., Result]) -> None:
    assert lede(make(BEST, RANDOM, CHUNKS)) == (
        "In 5 score calls and 10.0 s, random reached a score of 8; random samples have 1.5 on average."
    )
    assert lede(make(BEST, (), CHUNKS)) == "In 5 score calls and 10.0 s, random reached a score of 8."
    assert lede(make()) == "In 1 score calls and 1.0 s, random found no sample that got a score."


def test_it_admits_that_the_best_is_a_random_sample(make: Callable[..., Result]) -> None:
    assert lede(make(RANDOM[1:], RANDOM, CHUNKS)).endswith("No sample that it tried beat the best random one.")


def test_log_odds_come_with_the_mean_of_probabilities_not_the_probability_of_the_mean(
    make: Callable[..., Result],
) -> None:
    """The probabilities of -1000 and 0 are 0 and 1/2, of which 1/4 is the mean."""
    random = [entry(0, -1000.0), entry(1, 0.0)]
    result = make([entry(3, 0.0)], random, CHUNKS, unit="log-odds")
    assert lede(result).endswith(
        "a score of 0 (probability 50.0%); random samples have −500 on average (mean probability 25.0%)."
    )
    assert [tile.note for tile in tiles(result)[:3]] == [
        "probability 50.0%",
        "probability 50.0%",
        "mean probability 25.0%",
    ]


def test_tiles_are_the_main_figures(make: Callable[..., Result]) -> None:
    shown = {tile.title: (tile.value, tile.shown) for tile in tiles(make(BEST, RANDOM, CHUNKS, held_out="judge"))}
    assert shown == {
        "Best score": (8.0, "8"),
        "Best 2, mean": (6.0, "6"),
        "Random 2, mean": (1.5, "1.5"),
        "Best 2, held-out": (5.5, "5.5"),
        "Plausibility": (pytest.approx(0.13), "0.13"),
        "Score calls": (5.0, "5"),
    }
    titles = [tile.title for tile in tiles(make())]
    assert titles == ["Best score", "Best, mean", "Random, mean", "Plausibility", "Score calls"]


def test_figures_are_told_to_those_who_do_not_see_them(make: Callable[..., Result]) -> None:
    looks = [(2, 1.5, 0.5), (5, 6.0, 5.5)]
    told = {title: panel.alt for title, panel in drawn(make(BEST, RANDOM, CHUNKS, watched=looks)).items()}
    assert told == {
        "Best score so far": "The best score so far rises from 1 to 8 over 5 score calls. "
        "The mean of the random samples is 1.5.",
        "Score against plausibility": "Score against plausibility: 1 of 2 best samples have a plausibility below 0.05.",
        "Held-out score against score": "Held-out score against score for 2 random and 2 best samples.",
        "Score and held-out score as it went on": "The score of the leaders goes from 1.5 to 6, the held-out score "
        "from 0.5 to 5.5.",
    }


def test_there_is_a_figure_for_what_has_numbers_and_no_other(make: Callable[..., Result]) -> None:
    plain = [entry(3, 8.0)]
    assert list(drawn(make(plain, plain, CHUNKS))) == ["Best score so far", "Score against plausibility"]
    assert drawn(make(chunks=[chunk(REFERENCE, 0, [-float("inf")], 1, failures={0: "no"})])) == {}


def test_a_part_is_told_from_its_first_to_its_last_value(make: Callable[..., Result]) -> None:
    chunks = [
        chunk(REFERENCE, 0, [1.0], 1, parts={"a": torch.tensor([7.0])}),
        chunk(0, 1, [2.0], 2, parts={"a": torch.tensor([3.0])}),
    ]
    panel = drawn(make([entry(1, 2.0, parts={"a": 3.0})], (), chunks))["Part: a"]
    assert panel.alt == "a in the best sample so far: from 7 to 3."


def test_how_many_dots_are_shown_is_said_where_not_all_are(make: Callable[..., Result]) -> None:
    for n, words in [(3000, ""), (3001, " 1,501 of 3,001 are shown."), (9000, " 3,000 of 9,000 are shown.")]:
        caption = drawn(make((), (), [chunk(0, 0, [1.0] * n, n)]))["Best score so far"].caption
        assert caption == "Each dot is one scored sample, the line the best so far." + words


@pytest.mark.parametrize(("unit", "label"), [("", "score"), ("kB", "score (kB)"), ("µm", "score"), ("a\nb", "score")])
def test_plain_units_stand_at_the_axis(make: Callable[..., Result], unit: str, label: str) -> None:
    assert f">{label}<" in drawn(make((), (), CHUNKS, unit=unit))["Best score so far"].svg
