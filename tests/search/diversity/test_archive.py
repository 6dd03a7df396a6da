"""The archive keeps what pyribs keeps, and its numbers are those of pyribs."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from zmax.core.errors import InputError, MissingExtraError
from zmax.core.rng import stream
from zmax.search.diversity.archive import Archive, add
from zmax.search.diversity.descriptors import as_descriptor
from zmax.search.diversity.grid import as_cells, as_ranges, first_archive

LOW, HIGH = torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 2.0])
CELLS, FLOOR = torch.tensor([5, 7]), -1.5


def batches(rounds=12, n=40, seed=0):
    """Batches in which some descriptors lie outside the grid, on its edges, and many share a cell."""
    rng = stream(seed, "archive")
    for _ in range(rounds):
        u, score = torch.randn(n, 3, generator=rng), torch.randn(n, generator=rng).double()
        place = (torch.randn(n, 2, generator=rng) * 4).round().double() / 5 * HIGH
        yield u, score, place


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_thresholds_status_and_value_are_those_of_pyribs(rate):
    ribs = pytest.importorskip("ribs.archives")
    peer = ribs.GridArchive(
        solution_dim=3, dims=[5, 7], ranges=[(-1, 1), (-2, 2)], learning_rate=rate, threshold_min=FLOOR
    )
    archive = Archive.empty(LOW, HIGH, CELLS, FLOOR, 3)
    for u, score, place in batches():
        info = peer.add(u.numpy(), score.numpy(), place.numpy())
        archive, entrance = add(archive, u, score, place, rate)
        assert np.array_equal(archive.index(place).numpy(), peer.index_of(place.numpy()))
        assert np.array_equal(entrance.status.numpy(), info["status"])
        assert np.allclose(entrance.value.numpy(), info["value"], rtol=0, atol=1e-12)
    kept = peer.data(["index", "threshold"])
    assert sorted(kept["index"]) == archive.filled.nonzero().flatten().tolist()
    assert np.allclose(archive.threshold.numpy()[kept["index"]], kept["threshold"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_elites_and_statistics_are_those_of_pyribs(rate):
    """pyribs keeps them in a second archive, of learning rate 1, fed with what the thresholds let in."""
    ribs = pytest.importorskip("ribs.archives")
    peer = ribs.GridArchive(solution_dim=3, dims=[5, 7], ranges=[(-1, 1), (-2, 2)], qd_score_offset=FLOOR)
    archive = Archive.empty(LOW, HIGH, CELLS, FLOOR, 3)
    for u, score, place in batches():
        archive, entrance = add(archive, u, score, place, rate)
        inside = entrance.status > 0
        peer.add(u[inside].numpy(), score[inside].numpy(), place[inside].numpy())
    for grid in (peer, archive.to_pyribs()):
        kept = grid.data()
        assert np.array_equal(archive.u.numpy()[kept["index"]], kept["solution"].astype(np.float32))
        assert np.array_equal(archive.score.numpy()[kept["index"]], kept["objective"])
        assert archive.coverage == pytest.approx(grid.stats.coverage, abs=1e-12)
        assert archive.qd_score == pytest.approx(grid.stats.qd_score, abs=1e-9)
        assert archive.best == grid.stats.obj_max


def test_a_score_equal_to_the_threshold_does_not_enter():
    archive, one = Archive.empty(LOW, HIGH, CELLS, FLOOR, 3), torch.zeros(1, 3)
    place = torch.zeros(1, 2).double()
    _, entrance = add(archive, one, torch.tensor([FLOOR]).double(), place, 0.3)
    assert entrance.status.tolist() == [0]
    full, _ = add(archive, one, torch.tensor([2.0]).double(), place, 1.0)
    same, entrance = add(full, one + 1, torch.tensor([2.0]).double(), place, 1.0)
    assert entrance.status.tolist() == [0]
    assert torch.equal(same.u, full.u)


def test_adding_leaves_the_archive_it_is_given_alone():
    archive = Archive.empty(LOW, HIGH, CELLS, FLOOR, 3)
    add(archive, *next(batches()), 0.3)
    assert archive.coverage == 0.0
    assert torch.equal(archive.threshold, torch.full((35,), FLOOR, dtype=torch.float64))


def test_with_one_score_a_round_the_best_of_each_cell_is_kept():
    """At learning rate 1 the archive is the maximum by cell, whatever the order."""
    u, score, place = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    archive = Archive.empty(LOW, HIGH, CELLS, FLOOR, 3)
    for i in range(len(u)):
        archive, _ = add(archive, u[i : i + 1], score[i : i + 1], place[i : i + 1], 1.0)
    cell = archive.index(place)
    for c in range(35):
        inside = score[(cell == c) & (score > FLOOR)]
        assert float(archive.score[c]) == (float(inside.max()) if len(inside) else -np.inf)
    elites = archive.elites()
    assert torch.equal(elites.score, elites.score.sort(descending=True).values)
    assert float(elites.log_weight.logsumexp(0)) == pytest.approx(0.0, abs=1e-12)


def test_bounds_and_floor_are_taken_from_the_prior_where_none_are_given():
    place = 2 + 0.5 * torch.randn(4000, 2, generator=stream(1)).double()
    score = torch.randn(4000, generator=stream(2)).double()
    archive = first_archive(None, torch.tensor([4]), None, place, score, 3)
    assert torch.allclose(archive.low, torch.full((2,), 0.5, dtype=torch.float64), atol=0.1)
    assert torch.allclose(archive.high, torch.full((2,), 3.5, dtype=torch.float64), atol=0.1)
    assert archive.floor == pytest.approx(2 * float(score.min()) - float(score.max()))
    flat = first_archive(None, torch.tensor([4]), None, place * 0, score * 0, 3)
    assert bool((flat.low < flat.high).all())
    assert flat.floor < 0.0


def test_forms_that_cannot_be_read_are_refused():
    for ranges in ("0:1,2", "1:0", "a:b", "0:inf", ""):
        with pytest.raises(InputError, match="ranges"):
            as_ranges("CMAMAE", ranges)
    for cells in ("20x", 0, "-3", True, "2.5"):
        with pytest.raises(InputError, match="cells"):
            as_cells("CMAMAE", cells)
    with pytest.raises(InputError, match="2 descriptors"):
        first_archive((LOW[:1], HIGH[:1]), CELLS, None, torch.zeros(4, 2), torch.zeros(4), 3)


def test_descriptors_are_named_by_scores_or_by_the_function():
    pictures = torch.rand(3, 3, 8, 8, generator=stream(0))
    names, values = as_descriptor("0.5*brightness + 1, min(brightness, colourfulness)")(pictures)
    assert names == ("0.5*brightness + 1", "min(brightness, colourfulness)")
    assert values.shape == (3, 2)
    assert as_descriptor(lambda x: {"left": x[:, 0, 0, 0]})(pictures)[0] == ("left",)
    assert as_descriptor("torch:flatten").text == "torch:flatten"
    with pytest.raises(InputError, match="brightness"):
        as_descriptor("brightness")(["not", "a", "picture"])
    with pytest.raises(InputError, match="a tensor"):
        as_descriptor(lambda x: x)(pictures)


def test_rows_that_failed_are_not_described():
    ok = torch.tensor([True, False, True])
    described = as_descriptor(lambda x: torch.stack([x[:, 0], 1 / x[:, 1]], dim=1))
    samples = [torch.tensor([1.0, 2.0]), None, torch.tensor([3.0, 0.0])]
    _, place, good = described.places(samples, ok)
    assert good.tolist() == [True, False, False]
    assert place[0].tolist() == [1.0, 0.5]


def test_a_missing_pyribs_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ribs.archives", None)
    with pytest.raises(MissingExtraError, match=r"zmax\[qd\]"):
        Archive.empty(LOW, HIGH, CELLS, FLOOR, 3).to_pyribs()
