"""Quality diversity by a distance alone: elites stay apart, thresholds rise, and what is near competes."""

from __future__ import annotations

import math

import pytest
import torch

import zmax
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation
from zmax.search import CMAMAE, CMAMEGA, apart_by
from zmax.search.diversity.archive import Archive, add
from zmax.search.diversity.scattered import Scattered, apart, read_apart


def empty(least: float, features: int = 1) -> Scattered:
    none = torch.zeros(0, dtype=torch.float64)
    return Scattered(least, 0.0, none, none, torch.zeros(0, 2), torch.zeros(0, features, dtype=torch.float64))


def offered(archive: Scattered, x: float, score: float, rate: float = 1.0) -> tuple[Scattered, int, float]:
    return archive.offered(torch.tensor([x, 0.0]), score, torch.tensor([x], dtype=torch.float64), rate)


def test_what_is_far_is_one_more_and_what_is_near_competes() -> None:
    archive, status, value = offered(empty(1.0), 0.0, 2.0)
    assert (status, value, archive.coverage) == (2, 2.0, 1)
    archive, status, value = offered(archive, 0.4, 1.0)
    assert (status, value, archive.u[0, 0]) == (0, -1.0, 0.0)
    archive, status, value = offered(archive, 0.4, 5.0)
    assert (status, value, archive.coverage) == (1, 3.0, 1)
    assert archive.u[0, 0] == pytest.approx(0.4)
    archive, status, _ = offered(archive, 2.0, 1.0)
    assert (status, archive.coverage, archive.qd_score, archive.best) == (2, 2, 6.0, 5.0)
    archive, status, _ = offered(archive, 1.2, 9.0)  # near to both: it would bring them together
    assert (status, archive.coverage, archive.score.tolist()) == (1, 2, [5.0, 1.0])
    assert offered(archive, 9.0, -1.0)[1:] == (0, -1.0)


def test_thresholds_rise_as_in_a_grid_of_one_cell() -> None:
    one = torch.zeros(1, 1, dtype=torch.float64)
    grid = Archive.empty(one[0], one[0] + 1, torch.tensor([1]), 0.0, 2)
    archive = empty(10.0)
    for i, score in enumerate([2.0, 5.0, 1.0, 4.0, 8.0]):
        grid, entrance = add(grid, torch.zeros(1, 2), torch.tensor([score]), one, 0.25)
        archive, status, value = offered(archive, i / 10, score, 0.25)
        assert (status, value) == (int(entrance.status), pytest.approx(float(entrance.value)))
    assert archive.threshold.tolist() == pytest.approx(grid.threshold.tolist())
    assert archive.score.tolist() == grid.score.tolist()


def test_distances_of_truth_values_are_those_of_fingerprints() -> None:
    bits = torch.tensor([[True, True, False, False], [True, False, True, False], [False] * 4])
    assert apart(bits, bits[0]).tolist() == pytest.approx([0, 2 / 3, 1])
    assert apart(torch.tensor([[3.0, 4.0]]), torch.zeros(2)).tolist() == [5.0]


def corner(x: torch.Tensor) -> torch.Tensor:
    """Return which corner a sample is near to, as features."""
    return x[:, :2].sign() * x[:, :2].abs().clamp(max=1)


@pytest.mark.parametrize(
    "given", [apart_by(corner, 1.0), apart_by(None), "apart(latents, 2.5)"], ids=["features", "latents", "name"]
)
def test_runs_keep_many_kinds_no_two_of_which_are_near(given, tmp_path) -> None:
    G = zmax.generator(torch.nn.Identity(), shape=(4,), modality="vector")
    S = zmax.score(lambda x: 3 - x[:, 2].square(), name="flat")
    r = zmax.maximize(G, S, CMAMAE(descriptor=given), budget=400, out=tmp_path / "run")
    archive = zmax.load_result(tmp_path / "run").archive
    assert isinstance(archive, Scattered)
    assert archive.coverage == len(r.elites) > 3
    for row in archive.features:
        assert int((apart(archive.features, row) < archive.least).sum()) == 1
    assert r.elites[0].score == archive.best == max(e.score for e in r.elites)
    assert all(e.parts["distance to the nearest"] >= archive.least for e in r.elites)
    assert f"{archive.coverage} samples are kept of which no two" in r.report().read_text()
    with pytest.raises(InputError, match="with a distance alone"):
        zmax.report.save_archive(r, tmp_path / "map.png")


def test_the_distance_left_open_is_half_of_what_random_samples_are_apart() -> None:
    method = CMAMAE(descriptor=apart_by(None))
    state = method.init(zmax.Space.of((6,)), torch.Generator().manual_seed(0))
    n = len(state.u)
    told = Evaluation(
        score=torch.zeros(n, dtype=torch.float64),
        ok=torch.ones(n, dtype=torch.bool),
        plausibility=None,
        ids=range(n),
        grad=None,
        samples=state.u,
        parts={},
        failures={},
    )
    archive = method.tell(state, told).archive
    assert archive.least == pytest.approx(float(torch.pdist(state.u.double()).median()) / 2)


def test_texts_say_what_calls_do() -> None:
    assert read_apart("brightness") is None
    assert read_apart("apart(latents)") == apart_by(None)
    assert CMAMAE(descriptor="apart(latents, 2)").descriptor == "apart(latents, 2.0)"
    with pytest.raises(InputError, match=r"apart\(file.py:features, 0.5\)"):
        read_apart("apart(latents")
    with pytest.raises(InputError, match="a number behind the comma"):
        read_apart("apart(latents, near)")


def test_what_does_not_do_is_refused() -> None:
    with pytest.raises(InputError, match="a positive number"):
        apart_by(None, 0.0)
    with pytest.raises(InputError, match="a function of a batch"):
        apart_by(lambda a, b: math.nan)
    with pytest.raises(InputError, match="cma-mae takes one"):
        CMAMEGA(descriptor="apart(latents)")
