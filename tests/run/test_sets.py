"""Scores of sets: k latents are one point, and k samples one sample."""

from __future__ import annotations

import pytest
import torch

import zmax
from tests.run.toys import identity
from zmax.core.errors import CapabilityError, InputError
from zmax.generators.sets import Sets
from zmax.report.cards import cards
from zmax.report.pictures import pixels


def apart(x):
    return torch.pdist(x).min()


def test_the_farthest_points_on_a_shell_are_opposite():
    result = zmax.maximize(identity(16), zmax.set_score(apart, 2), "gradient", 200)
    r = float(identity(16).space.retract(100 * torch.ones(1, 16)).norm())
    one, other = result.best.sample
    assert result.best.sample.shape == (2, 16)
    assert result.best.score == pytest.approx(float((one - other).norm()), rel=1e-5)
    assert result.best.score > 0.98 * 2 * r
    assert result.best.z.keys() == {"z 1", "z 2"}
    assert torch.equal(result.best.z["z 2"], other)


def test_one_call_is_one_set_and_each_of_its_samples_is_a_decode():
    net, calls = torch.nn.Linear(3, 2), []
    G = zmax.generator(net, shape=(3,), modality="vector")
    S = zmax.set_score(lambda x: calls.append(len(x)) or float(x.var()), 5, name="variance")
    result = zmax.maximize(G, S, "random", 60)
    assert set(calls) == {5}
    assert result.ledger.score_calls == len(calls) == 60
    assert result.ledger.decodes == result.ledger.nfe == 5 * (len(result.history) + 1)


@pytest.mark.parametrize("method", ["cma", "sphere"])
def test_every_kind_of_method_takes_sets(method):
    result = zmax.maximize(identity(3), zmax.set_score(apart, 3, name="apart"), method, 120)
    assert result.best.score > max(e.score for e in result.reference)
    assert result.best.score == pytest.approx(float(apart(result.best.sample)), rel=1e-5)


def test_sets_of_things_that_are_no_tensors_are_lists():
    words = zmax.generator(lambda z: ["ab"[int(row[0] > 0)] + "xy"[int(row[1] > 0)] for row in z], shape=(2,))
    result = zmax.maximize(words, zmax.set_score(lambda texts: len(set(texts)), 4, name="kinds"), "random", 100)
    assert result.best.score == 4
    assert sorted(result.best.sample) == ["ax", "ay", "bx", "by"]


def test_blocks_come_k_times_in_their_order():
    blocks = zmax.Space((zmax.Block("a", (2,)), zmax.Block("b", (1,))))

    class Both(zmax.Generator):
        space = blocks

        def decode(self, z):
            return torch.cat([z["a"], 10 * z["b"]], 1)

    pairs = Sets(Both(), 2)
    u = torch.arange(6.0)[None]
    assert [block.name for block in pairs.space.blocks] == ["a 1", "b 1", "a 2", "b 2"]
    assert pairs.decode(pairs.space.latents(u)).tolist() == [[[0, 1, 20], [3, 4, 50]]]


def test_sets_go_with_goals_arithmetic_and_constraints():
    far = zmax.set_score(apart, 3, name="apart", differentiable=True)
    low = zmax.set_score(lambda x: -x[:, 0].mean(), 3, name="low", differentiable=True)
    result = zmax.maximize(identity(6), [far + 0.1 * low, low.where(far >= 2)], "gradient", 160)
    assert len(result.front) > 2
    assert all(entry.parts["apart"] >= 2 for entry in result.front)
    assert all(entry.sample.shape == (3, 6) for entry in result.front)


def test_a_run_of_sets_goes_on(tmp_path):
    S = zmax.set_score(apart, 2)
    whole = zmax.maximize(identity(3), S, "snes", 330)
    zmax.maximize(identity(3), S, "snes", 320, out=tmp_path / "cut")
    again = zmax.resume(tmp_path / "cut", identity(3), S, budget=330)
    assert again.history.score.tobytes() == whole.history.score.tobytes()


def test_sets_of_other_sizes_and_single_samples_do_not_mix():
    far, plain = zmax.set_score(apart, 3), zmax.score(lambda x: x[:, 0], name="first")
    with pytest.raises(InputError, match=r"zmax\.set_score\(lambda x: S\(x\)\.mean\(\), size\)"):
        far + plain
    with pytest.raises(InputError, match="scores of sets of 3"):
        far + zmax.set_score(lambda x: x.mean(), 2, name="other")
    with pytest.raises(CapabilityError, match="held-out"):
        zmax.maximize(identity(), far, "random", 40, held_out=plain)
    with pytest.raises(CapabilityError, match="elsewhere take a weighted sum"):
        zmax.run.finetune(identity(), far, budget=40)
    with pytest.raises(InputError, match="size"):
        zmax.set_score(apart, 1)
    with pytest.raises(InputError, match=r"mean\(\)"):
        zmax.set_score(plain)


def test_a_score_that_looks_at_its_batch_is_led_to_sets():
    with pytest.raises(InputError, match=r"zmax\.set_score\(fn, k\)"):
        zmax.maximize(identity(), lambda x: x[:, 0] - x[:, 0].mean(), "random", 100)
    with pytest.raises(InputError, match=r"zmax\.set_score\(fn, k\)"):
        zmax.score(lambda x: x.mean())(torch.zeros(3, 4))


def test_the_page_shows_a_set_of_pictures_as_one():
    sample = torch.stack([torch.full((3, 2, 2), i / 4) for i in range(5)])
    sheet = pixels(sample)
    assert sheet.shape == (6, 4, 3)
    assert [int(sheet[y, x, 0]) for y, x in [(0, 0), (0, 2), (2, 0), (2, 2), (4, 0), (4, 2)]] == [
        0,
        64,
        128,
        191,
        255,
        255,
    ]
    G = zmax.generator(torch.nn.Sigmoid(), shape=(3, 4, 4), modality="image")
    result = zmax.maximize(G, zmax.set_score(lambda x: x.var(), 4, name="variance"), "random", 60)
    assert cards(result.leaders, "Best", result.spec, 1.0)[0].kind == "image"
    assert result.warnings == ()
