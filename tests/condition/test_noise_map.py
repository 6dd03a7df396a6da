"""A map of noises learned from scored samples: the exact law, whose weights move by what, samples of any kind."""

from dataclasses import replace

import pytest
import torch

import zmax
from zmax.condition import NoiseMap
from zmax.condition.noise_map import divergence
from zmax.core.errors import CapabilityError, InputError
from zmax.core.proposal import Evaluation
from zmax.core.quantiles import Quantiles
from zmax.core.rng import Rng, stream
from zmax.core.state import dump, restore
from zmax.core.tuner import Lesson, Models
from zmax.finetune.weights import child_mapped
from zmax.kit.learner import LearnState

SLOPE = torch.tensor([1.2, -0.9])
SCORE = zmax.score(lambda x: x @ SLOPE, differentiable=False, name="S")
PLANE = zmax.generator(lambda z: z, shape=(2,), prior="normal", differentiable=True, modality="vector")
NOTHING = Evaluation(torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.bool), None, range(0))


def lesson(n=200, words=False):
    u = torch.randn(n, 2, generator=stream(5))
    x = [f"{a:.3f}" for a in u[:, 0]] if words else u
    return Lesson(x, (u @ SLOPE).double()[:, None], u)


def models(known, generator=PLANE, among=1):
    child = child_mapped(generator, Quantiles.fit(known.score), ("S",), known.x, among=among)
    return Models(child.generator, generator, lesson=known)


def shaken(network, size=0.1):
    rng = stream(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=rng))


def rollout(method, both, steps):
    state = replace(method.init(both.child, stream(1)), steps=steps)
    return method.rollout(state, both, NOTHING)


def test_it_learns_the_exact_law_of_noises_given_a_linear_score():
    method = NoiseMap(steps=500, batch=32, among=1, width=0.3)
    c = zmax.condition(PLANE, SCORE, method, budget=900, draws=300, fresh=16, checked=16, looks=1, rate=5e-3, seed=0)
    size = float(SLOPE.norm())
    width = 0.3 * size
    normal = SLOPE / size
    points = torch.randn(2000, 2, generator=stream(2))
    for s in (-1.5, 0.5, 2.0):
        x = c.generator.at(score=s).decode(points)
        along, across = x @ normal, x @ torch.tensor([-normal[1], normal[0]])
        gain = size / (size**2 + width**2)
        assert abs(float(along.mean()) - gain * s) < 0.1
        assert abs(float(along.std()) - width / (size**2 + width**2) ** 0.5) < 0.1
        assert abs(float(across.mean())) < 0.15
        assert abs(float(across.std()) - 1) < 0.2
    assert torch.equal(c.generator.at(None).decode(points), points)


def test_candidates_come_nearer_than_one():
    off = [
        zmax.condition(PLANE, SCORE, NoiseMap(steps=100, batch=16, among=k), budget=400, seed=0).calibration.label_score
        for k in (1, 8)
    ]
    assert off[1] < off[0] / 2


def test_of_several_scores_any_can_be_asked():
    scores = [zmax.score(lambda x, i=i: x[:, i], differentiable=False, name=f"s{i}") for i in range(2)]
    method = NoiseMap(steps=300, batch=32, among=8, width=0.1)
    c = zmax.condition(PLANE, scores, method, budget=400, draws=200, looks=1, fresh=16, checked=16, rate=5e-3, seed=0)
    points = torch.randn(500, 2, generator=stream(2))
    both, one = (c.generator.at(score=wanted).decode(points) for wanted in ({"s0": 1.0, "s1": -0.5}, {"s1": -0.5}))
    assert float((both - torch.tensor([1.0, -0.5])).abs().mean()) < 0.25
    assert float((one[:, 1] + 0.5).abs().mean()) < 0.25
    assert float(one[:, 0].std()) > 3 * float(both[:, 0].std())


def test_the_slope_of_the_divergence_is_that_of_its_formula_and_reaches_the_map_alone():
    both = models(lesson())
    ask = both.child.ask
    shaken(ask.flow)
    shaken(ask.judge.end)
    _, rows = rollout(NoiseMap(batch=4, steps=50), both, 40)
    rows = rows.at(torch.arange(8))
    found = torch.autograd.grad(divergence(both, rows).sum(), list(ask.flow.parameters()), retain_graph=True)
    assert torch.autograd.grad(divergence(both, rows).sum(), ask.judge.end.weight, allow_unused=True) == (None,)
    v, wanted = rows["noise"], rows["score"]
    u, log_det = ask.flow(v, context=ask.embed(wanted))
    far = torch.where(wanted.isnan(), 0.0, ask.judge(u) - (wanted - ask.middle) / ask.spread)
    cost = (u.square() - v.square()).sum(1) / 2 - log_det + (far / rows["width"][:, None]).square().sum(1) / 2
    assert torch.allclose(divergence(both, rows), cost, atol=1e-4)
    for one, other in zip(found, torch.autograd.grad(cost.sum(), list(ask.flow.parameters())), strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_a_row_of_the_loss_does_not_know_the_others_and_judges_learn_first():
    both, method = models(lesson()), NoiseMap(batch=4, steps=50)
    shaken(both.child.ask)
    for steps in (0, 40):
        rows = rollout(method, both, steps)[1]
        whole = method.loss(both, rows.at(torch.arange(6)))
        alone = torch.cat([method.loss(both, rows.at(torch.tensor([i]))) for i in range(6)])
        assert torch.allclose(whole, alone, rtol=1e-4)
        found = torch.autograd.grad(whole.sum(), both.child.ask.flow.shift, allow_unused=True)[0]
        assert (found is None) == (steps == 0)


def test_the_width_falls_to_what_was_asked_and_stays():
    both, method = models(lesson()), NoiseMap(batch=4, steps=100, width=0.25)
    widths = [float(rollout(method, both, steps)[1]["width"][0]) for steps in (40, 58, 76, 90)]
    assert widths == pytest.approx([1.0, 0.5, 0.25, 0.25])


def test_samples_of_a_black_box_are_judged_themselves_and_guided_by_their_noises():
    opaque = zmax.generator(lambda z: z.detach() * 3, shape=(2,), prior="normal", modality="vector")
    both = models(lesson(), opaque)
    assert both.child.ask.guide is not both.child.ask.judge
    _, rows = rollout(NoiseMap(batch=4, steps=50), both, 40)
    loss = NoiseMap(batch=4, steps=50).loss(both, rows)
    slopes = torch.autograd.grad(loss.sum(), [both.child.ask.judge.end.weight, both.child.ask.guide.end.weight])
    assert all(float(slope.norm()) > 0 for slope in slopes)
    with pytest.raises(CapabilityError, match="noises are known"):
        rollout(NoiseMap(batch=4, steps=50), replace(both, lesson=replace(both.lesson, u=None)), 0)


def test_what_was_asked_on_the_way_is_learned_from_and_kept_with_the_state():
    method, known = NoiseMap(batch=4, steps=50, asks=1, asked=5), lesson(words=True)
    generator = zmax.generator(lambda z: [f"{a:.3f}" for a in z[:, 0]], shape=(2,), modality="text")
    both = models(known, generator)
    state, proposal = method.collect(LearnState(Rng.of(stream(0)), steps=25), both)
    assert proposal is not None
    best, middle = known.score.max(), known.score.median()
    assert bool((state.asked.score >= best - 1e-6).all())
    assert bool((state.asked.score <= middle + 1.2 * (best - middle) + 1e-6).all())
    assert generator.decode(state.asked.u) == list(proposal.at.x)
    came = Evaluation(
        torch.arange(5.0, dtype=torch.float64), torch.tensor([True, True, False, True, True]), None, range(5)
    )
    state, _ = method.rollout(state, both, came)
    assert state.more.score[:, 0].tolist() == [0.0, 1.0, 3.0, 4.0]
    again = restore(method.init(both.child, stream(0)), dump(state))
    assert again.more.x == state.more.x
    assert torch.equal(again.more.u, state.more.u)


@pytest.mark.parametrize("wrong", [{"width": 0.0}, {"width": 1.5}, {"among": 0}])
def test_arguments_are_checked(wrong):
    with pytest.raises(InputError):
        NoiseMap(**wrong)


def test_the_file_of_a_run_gives_the_same_generator(tmp_path):
    c = zmax.condition(
        "avatars-vae", "brightness", NoiseMap(steps=20, batch=8, among=2), budget=80, out=tmp_path / "run", seed=0
    )
    again = zmax.load_generator(f"conditioned:{tmp_path / 'run'}")
    z = again.space.latents(again.space.sample(3, stream(0)))
    assert torch.equal(again.decode(z), c.generator.decode(z))
