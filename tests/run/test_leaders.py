from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import zmax
from tests.run.toys import identity
from zmax.run.leaders import Leaders, distinct
from zmax.run.recorder import UNDER_WAY
from zmax.store import Entry, Journal


def entry(u, score, i):
    return Entry(id=i, score=float(score), plausibility=1.0, u=u, z=u, sample=None)


def offer(leaders, u, score, first_id, alike=None):
    return leaders.offer(u, score, first_id, lambda i: entry(u[i], score[i], first_id + i), alike)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 8), batch=st.integers(1, 16))
def test_far_points_give_the_plain_top_k_for_any_batching(seed, k, batch):
    rng = torch.Generator().manual_seed(seed)
    u, score = torch.randn(48, 64, generator=rng), torch.randn(48, generator=rng)
    leaders = Leaders(k)
    for start in range(0, 48, batch):
        offer(leaders, u[start : start + batch], score[start : start + batch], start)
    assert [e.id for e in leaders.entries] == score.argsort(descending=True)[:k].tolist()


def test_of_near_twins_the_better_stays():
    u = torch.zeros(3, 50)
    u[1] += 0.01
    u[2, 0] = 50.0
    leaders = Leaders(4)
    offer(leaders, u, torch.tensor([1.0, 2.0, 0.5]), 0)
    assert [e.id for e in leaders.entries] == [1, 2]
    change = offer(leaders, u[:1] + 0.02, torch.tensor([3.0]), 3)
    assert [e.id for e in leaders.entries] == [3, 2]
    assert [e.id for e in change.added] == [3]
    assert change.dropped == [1]


def test_no_two_leaders_are_nearly_the_same():
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(5, 20, generator=rng)
    leaders = Leaders(16)
    for r in range(10):
        u = centres + 0.05 * torch.randn(5, 20, generator=rng)
        offer(leaders, u, torch.randn(5, generator=rng), 5 * r)
    points = torch.stack([e.u for e in leaders.entries])
    gaps = torch.cdist(points, points) + 1e9 * torch.eye(len(points))
    assert len(points) == 5
    assert gaps.min() >= 0.5 * 40**0.5  # half of what prior draws are apart in 20 dimensions


def test_failures_never_lead():
    leaders = Leaders(2)
    u = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    offer(leaders, u, torch.tensor([float("-inf"), 1.0, float("-inf")]), 0)
    assert [e.id for e in leaders.entries] == [1]


@pytest.mark.parametrize(("apart", "kept"), [(0.49, 1), (0.51, 2)])
def test_points_are_twins_below_half_the_usual_distance_of_prior_draws(apart, kept):
    u = torch.zeros(2, 32)
    u[1, 0] = apart * 64**0.5  # prior draws are sqrt(2 d) apart
    leaders = Leaders(4)
    offer(leaders, u, torch.tensor([1.0, 2.0]), 0)
    assert len(leaders.entries) == kept


def bumps(x):
    return x[:, 0] + torch.sin(3 * x[:, 1])


@pytest.mark.parametrize("method", ["snes", "gradient"])
def test_the_leaders_of_a_run_do_not_depend_on_its_batches(method):
    runs = [
        zmax.maximize(identity(16), bumps, method, 320, batch_size=size, keep=8, progress=False) for size in (1, 7, 64)
    ]
    assert len({tuple(e.id for e in r.leaders) for r in runs}) == 1
    assert len(runs[0].leaders) == 8
    for e in runs[0].leaders:
        assert torch.equal(e.sample, e.z)
        assert e.score == float(bumps(e.sample[None]))


def test_the_best_are_chosen_greedily_and_none_near_a_better_one():
    u = torch.tensor([[0.0, 0], [0.1, 0], [9, 0], [9.1, 0], [0, 9], [5, 5]])
    score = torch.tensor([1.0, 2.0, 4.0, 4.0, float("-inf"), float("nan")])
    assert distinct(u, score, 5) == [2, 1]
    assert distinct(u, score, 1) == [2]


def test_a_run_that_goes_on_begins_with_the_leaders_it_had_under_way(tmp_path):
    ask = {"method": "gradient", "batch_size": 4, "keep": 8, "progress": False}
    straight = zmax.maximize(identity(16), bumps, budget=640, out=tmp_path / "a", **ask)
    zmax.maximize(identity(16), bumps, budget=320, out=tmp_path / "b", **ask)
    assert Journal.open(tmp_path / "b").kept(UNDER_WAY)
    resumed = zmax.resume(tmp_path / "b", identity(16), bumps, budget=640)
    assert [e.id for e in resumed.leaders] == [e.id for e in straight.leaders]
    ids = [[e.id for e in Journal.open(tmp_path / name).kept(UNDER_WAY)] for name in "ab"]
    assert ids[0] == ids[1]


def greedy(u, score, k, alike):
    """The rule in words: again and again the best of what is neither too close to one that was chosen nor equal."""
    left, chosen = torch.isfinite(score), []
    while left.any() and len(chosen) < k:
        best = int(torch.where(left, score, float("-inf")).argmax())
        chosen.append(best)
        left &= (u - u[best]).square().sum(1) >= u.shape[1] / 2
        left &= ((alike != alike[best]) | (alike == 0)) & (torch.arange(len(u)) != best)
    return chosen


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.sampled_from([1, 3, 16, 200]), spread=st.floats(0, 1))
@example(seed=790, k=3, spread=0.0)  # one that comes in is the twin of two leaders, and leaves a place behind
def test_leaders_of_a_crowd_are_those_of_the_rule(seed, k, spread):
    rng = torch.Generator().manual_seed(seed)
    u = torch.randn(6, 4, generator=rng)[torch.randint(6, (120,), generator=rng)]
    u = u + spread * torch.randn(120, 4, generator=rng)
    score = torch.randn(120, generator=rng).double().round(decimals=1)
    score[::17] = float("-inf")
    alike = torch.randint(0, 50, (120,), generator=rng)
    assert distinct(u, score, k, alike) == greedy(u, score, k, alike)
    leaders = Leaders(k)
    for start in range(0, 120, 40):
        rows = sorted(e.id for e in leaders.entries) + list(range(start, start + 40))
        new = slice(start, start + 40)
        offer(leaders, u[new], score[new], start, alike[new])
        assert [e.id for e in leaders.entries] == [rows[i] for i in greedy(u[rows], score[rows], k, alike[rows])]


class Work(TorchDispatchMode):
    """Counts the values that torch's operations make."""

    made = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.made += out.numel() if isinstance(out, torch.Tensor) else 0
        return out


def test_a_batch_is_compared_with_the_leaders_and_not_these_with_each_other():
    rng = torch.Generator().manual_seed(0)
    u, score = torch.randn(432, 8, generator=rng) * 20, torch.randn(432, generator=rng)
    leaders = Leaders(400)
    offer(leaders, u[:400], score[:400], 0)
    with Work() as work:
        offer(leaders, u[400:], score[400:], 400)
    assert work.made < 32 * 432 * 8 * 4
