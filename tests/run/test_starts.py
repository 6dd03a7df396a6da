"""A search begins where it is told to: whatever the method, the form of the start, and however often it is killed."""

from __future__ import annotations

import pytest
import torch

import zmax
from tests.run.toys import identity
from zmax.core.errors import CapabilityError, InputError
from zmax.core.methods import registry
from zmax.core.rng import stream
from zmax.core.start import Start, Starts
from zmax.core.strategy import Need
from zmax.kit.walk import Walk, middle
from zmax.run.resolve import steered
from zmax.search import SNES
from zmax.testing.linear import linear_gaussian

DIM = 6
LAW = zmax.testing.gaussian_mixture([[0.0] * DIM], torch.eye(DIM)[None].tolist(), [1.0])
CODES = zmax.generator(lambda z: z.float(), shape=(DIM,), prior=zmax.Categorical(4, one_hot=False), modality="vector")
TARGET = 1.5
BEGUN = sorted(name for name in registry if registry.load(name).begins)


def near(x):
    return -(x - TARGET).square().mean(1)


def descriptor(x):
    return x[:, :2]


SMALL = {
    "cma-mae": {"descriptor": descriptor, "population": 8},
    "cma-mega": {"descriptor": descriptor, "population": 8},
    "surrogate": {"first": 8, "steps": 3},
}


def method(name):
    return registry.load(name)(**SMALL.get(name, {}))


class Killed:
    """The score, which is killed once at a call."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, x):
        self.left -= len(x)
        if self.left < 0:
            self.left = 10**9
            raise KeyboardInterrupt
        return near(x)


def run(name, score=near, **more):
    S = zmax.score(score, differentiable=True, name="near")
    G = CODES if Need.CATEGORIES in method(name).needs else LAW.generator(steps=3)
    space = steered(method(name), G).space
    u = 0.8 * space.sample(3, stream(1, "start"))
    budget = zmax.Budget(score_calls=70)
    r = zmax.maximize(G, S, method(name), budget, start={"u": u}, progress=False, **more)
    return r, u, G, S


@pytest.mark.parametrize("name", BEGUN)
def test_every_method_scores_the_start_first_and_goes_on_bit_for_bit(name, tmp_path):
    whole, u, G, _ = run(name)
    first = next(c for c in whole._journal.chunks() if c.round == 0)
    assert torch.equal(first.u, u)
    assert whole.best.score >= float(first.score.max())
    cut, *_ = run(name, Killed(40), out=tmp_path / "r")
    assert cut.stop_reason == "interrupted"
    S = zmax.score(near, differentiable=True, name="near")
    again = zmax.resume(tmp_path / "r", G, S, method=method(name), progress=False)
    assert again.history.score.tolist() == whole.history.score.tolist()
    assert [e.u.tolist() for e in again.leaders] == [e.u.tolist() for e in whole.leaders]


def test_all_methods_that_search_take_a_start_and_say_how():
    assert sorted(registry) == BEGUN
    told = {m.name: m.begins for m in zmax.methods()}
    assert told["gradient"] == Starts.CHAINS.value
    assert told["turbo"] == Starts.MODEL.value
    assert told["paths"] == Starts.PATH.value
    assert told["ddpo"] == ""


class Stubborn(SNES):
    """A method that can take no start."""

    begins = None


def test_a_method_that_can_take_none_says_which_can():
    with pytest.raises(CapabilityError, match=r"cannot begin at a start\n  expected: one of .*cma, .*turbo"):
        zmax.maximize(identity(), near, Stubborn(), 100, start={"z": torch.zeros(1, 8)}, progress=False)


def test_neighbours_keep_the_share_of_the_start_that_the_strength_leaves():
    start = Start(torch.ones(1, 10_000), strength=0.6)
    z = torch.randn(50, 10_000, generator=stream(0, "z"))
    made = start.around(z)
    assert torch.allclose(made.mean(1), torch.full((50,), 0.8), atol=0.03)
    assert torch.allclose(made.var(1), torch.full((50,), 0.36), atol=0.03)


GUARDED = [(name, "retract") for name in ("gradient", "cma", "snes", "turbo", "trust", "lbfgs", "es")]


@pytest.mark.parametrize(("name", "guard"), [*GUARDED, ("cma", "natural"), ("snes", "report")])
def test_a_guard_does_not_exclude_the_centre_of_the_start(name, guard):
    law = linear_gaussian(torch.eye(40))
    S = zmax.score(lambda x: -x.square().mean(1), differentiable=True)
    plain = zmax.maximize(law.generator(), S, name, 80, progress=False)
    r = zmax.maximize(law.generator(), S, name, 80, guard=guard, start={"z": torch.zeros(1, 40)}, progress=False)
    assert plain.best.score < -0.4  # the shell begins there
    assert r.best.score == 0
    others = r.history.score[(r.history.round > 0) & (r.history.score < 0)]
    assert others.max() > -0.35  # it looks inside the shell


def test_latents_are_those_of_the_generator_whatever_their_prior():
    G = zmax.generator(lambda z: torch.cat([10 * z, z], 1), shape=(3,), prior="uniform", modality="vector")
    z = torch.tensor([[0.5, -0.25, 0.9]])
    for given in (z, z[0], z.numpy(), {"z": z.tolist()}):
        r = zmax.maximize(G, zmax.score(lambda x: -x[:, :3].abs().sum(1)), "cma", 60, start=given, progress=False)
        assert r.history.score[r.history.round == 0].tolist() == pytest.approx([-16.5], rel=1e-5)


def test_latents_of_several_blocks_come_as_a_dict():
    space = zmax.Space((zmax.Block("a", (2,)), zmax.Block("b", (1,))))
    G = zmax.generator(lambda z: torch.cat([z["a"], z["b"]], 1), space=space, modality="vector")
    start = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[3.0]])}
    r = zmax.maximize(G, zmax.score(lambda x: x[:, 2]), "snes", 60, start=start, progress=False)
    assert r.history.score[r.history.round == 0].tolist() == [3.0]


def test_what_could_be_two_things_or_none_is_refused():
    G, S = identity(), zmax.score(near)
    with pytest.raises(InputError, match=r"could be latents or samples(.|\n)*start=\{"):
        zmax.maximize(G, S, "cma", 60, start=torch.zeros(1, 8), progress=False)
    with pytest.raises(InputError, match=r"neither latents nor samples\n  expected: latents \('n', 8\)"):
        zmax.maximize(G, S, "cma", 60, start=torch.zeros(1, 9), progress=False)
    with pytest.raises(InputError, match="no such file"):
        zmax.maximize(G, S, "cma", 60, start="nowhere", progress=False)
    with pytest.raises(InputError, match="one for each of 2 points"):
        zmax.maximize(G, S, "cma", 60, start=(torch.zeros(2, 8), [1.0]), progress=False)


def test_the_middle_of_a_path_is_the_start_s_own_up_to_the_last_noise():
    G = LAW.generator(steps=10)
    u = G.space.sample(2, stream(2, "start"))
    S = zmax.score(near, differentiable=True)
    r = zmax.maximize(G, S, "paths", 200, start={"u": u}, strength=0.3, progress=False)
    path = G.space.path
    assert middle(path, 0.3) == 7
    own, same = u[:, : path.columns(7).start], 0
    for chunk in r._journal.chunks():
        if chunk.u is not None and chunk.round > 0:
            for row in chunk.u:
                same += int(bool((row[: own.shape[1]] == own).all(1).any()))
                assert not bool((row == u).all(1).any())
    assert same == sum(len(c.u) for c in r._journal.chunks() if c.u is not None and c.round > 0) > 0
    assert r.ledger.nfe > 0


def test_a_path_set_out_again_with_its_own_noises_ends_where_it_did():
    G = LAW.generator(steps=6)
    from zmax.core.budget import Budget, Ledger
    from zmax.run.evaluator import Evaluator
    from zmax.run.inverse import passed

    u = G.space.sample(2, stream(3, "start"))
    evaluator = Evaluator(G, zmax.score(near), Ledger(), Budget(10))
    trail = passed(evaluator, u)
    path = G.space.path
    walk = Walk.again(G.space, u, trail, 3, u[:, path.columns(3)].reshape(2, DIM))
    while not walk.at_end(G.space):
        shown = evaluator.evaluate(walk.preview(G.space, scored=False)).shown
        walk = walk.onward(G.space, shown, u[:, path.columns(walk.step + 1)].reshape(2, DIM))
    assert torch.allclose(walk.u, u)
    end = evaluator.evaluate(walk.preview(G.space, scored=False)).shown
    assert torch.allclose(end.double(), G.decode(G.space.latents(u)).double(), atol=1e-4)
