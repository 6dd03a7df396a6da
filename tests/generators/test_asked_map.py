"""A map of noises that is told a score: the parent at first, invertible, the nearest candidate, files."""

import pytest
import torch

import zmax
from zmax.core.errors import CapabilityError
from zmax.core.quantiles import Quantiles
from zmax.core.rng import stream
from zmax.finetune.weights import child_mapped, read, restored, written
from zmax.generators.judge import Judge
from zmax.generators.mapped import Coupling

LAW = Quantiles.fit(torch.linspace(-2, 2, 400)[:, None])
G = zmax.generator(lambda z: z * 2 + 1, shape=(3,), prior="normal", differentiable=True, modality="vector")
WORDS = zmax.generator(lambda z: [f"{row:.4f}" for row in z[:, 0]], shape=(3,), modality="text")


def points(n, dim, seed=1):
    return torch.randn(n, dim, generator=stream(seed))


def shaken(network, size):
    rng = stream(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=rng))
    return network


def mapped(generator, x, among):
    return child_mapped(generator, LAW, ("S",), x, among=among)


class First(torch.nn.Module):
    """Judges noises by the first of them."""

    def forward(self, u):
        return u[:, :1]


@pytest.mark.parametrize(("generator", "x"), [(G, torch.zeros(2, 3)), (WORDS, ["a"])])
def test_whatever_is_asked_it_begins_as_the_parent(generator, x):
    child, u = mapped(generator, x, 4).generator, points(6, 3)
    wanted = torch.tensor([[-1.0], [0.0], [1.5], [float("nan")], [9.0], [-9.0]])
    made, parent = (g.decode(g.space.latents(u)) for g in (child.asked(wanted), generator))
    assert made == parent if isinstance(made, list) else torch.equal(made, parent)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_a_map_that_is_told_has_an_inverse_and_the_determinant_it_says(dim):
    flow, u, told = shaken(Coupling(dim, 4).double(), 0.2), points(5, dim).double(), points(5, 4, 2).double()
    with torch.no_grad():
        v, log_det = flow(u, context=told)
        again, back = flow(v, back=True, context=told)
        other, _ = flow(u, context=-told)
    assert torch.allclose(again, u, atol=1e-8)
    assert torch.allclose(back, -log_det)
    assert not torch.allclose(other, v, atol=1e-2)
    jacobian = torch.autograd.functional.jacobian(lambda u: flow(u[None], context=told[:1])[0][0], u[0])
    assert torch.allclose(torch.linalg.slogdet(jacobian).logabsdet, log_det[0])


def test_of_the_candidates_the_nearest_to_the_request_is_kept():
    child, v = mapped(WORDS, ["a"], 6).generator, points(200, 3)
    child.ask.judge = First()
    wanted = torch.full((1, 1), 0.5)
    held = child.asked(wanted)
    found = held.moved(v)
    turned = torch.stack([v[:, turn] * sign for turn, sign in zip(child.ask.turns, child.ask.signs, strict=True)])
    off = child.ask.off(turned[..., 0].flatten()[:, None], wanted.expand(1200, 1)).reshape(6, 200).abs()
    reached = child.ask.off(found[:, :1], wanted.expand(200, 1))[:, 0].abs()
    assert torch.equal(reached, off.min(0).values)
    assert torch.equal(turned[0], v)
    assert torch.allclose(turned.norm(dim=2), v.norm(dim=1).expand(6, 200))


def test_where_nothing_is_asked_nothing_is_moved():
    child, v = mapped(WORDS, ["a"], 3).generator, points(20, 3)
    shaken(child.ask, 0.3)
    nothing = torch.full((20, 1), float("nan"))
    assert torch.equal(child.asked(nothing).moved(v), v)
    assert torch.equal(child.ask.moved(v, nothing)[1], torch.zeros(20))
    assert not torch.allclose(child.asked(torch.zeros(20, 1)).moved(v), v, atol=0.1)


def test_a_row_does_not_know_the_others():
    child = mapped(G, points(50, 3) * 2 + 1, 5)
    shaken(child.generator.ask, 0.1)
    z = child.generator.space.latents(child.generator.space.sample(9, stream(3)))
    whole = child.generator.decode(z)
    alone = torch.cat([child.generator.decode({k: v[i : i + 1] for k, v in z.items()}) for i in range(9)])
    assert torch.allclose(whole, alone, atol=1e-5)


def test_latents_that_forget_their_noise_are_the_noise_itself():
    sphere = zmax.generator(lambda z: z, shape=(3,), prior="sphere", modality="vector", differentiable=True)
    child, u = mapped(sphere, torch.zeros(2, 3), 1).generator, points(4, 3)
    held = child.at(score=1.0)
    assert torch.equal(held.space.whiten(held.space.latents(u)), u)
    assert torch.allclose(held.decode(held.space.latents(u)), sphere.decode(sphere.space.latents(u)))


@pytest.mark.parametrize("x", [torch.rand(4, 3, 16, 16), torch.rand(4, 3), ["a", "b"]])
def test_it_comes_back_from_its_file(x):
    image = isinstance(x, torch.Tensor) and x.ndim == 4
    lift = torch.randn(3, 768, generator=stream(0))
    pictures = zmax.generator(lambda z: (z @ lift).reshape(-1, 3, 16, 16), shape=(3,), modality="image")
    parent = pictures if image else WORDS if isinstance(x, list) else G
    child = mapped(parent, x, 3)
    shaken(child.generator.ask, 0.05)
    again = restored(parent, *read(written(child, {"score": "S"})))
    z = child.generator.space.latents(child.generator.space.sample(4, stream(1)))
    one, other = (g.decode(z) for g in (child.generator, again.generator))
    assert one == other if isinstance(one, list) else torch.equal(one, other)
    assert again.plan == child.plan


def test_a_map_has_no_weight_of_guidance():
    child = mapped(G, torch.zeros(2, 3), 1).generator
    assert not child.guided
    with pytest.raises(CapabilityError, match="guidance"):
        child.at(score=1.0, guidance=1.0)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 5, 7), (3, 64, 64), (1, 2, 2), (4,)])
def test_a_judge_begins_at_zero_and_sees_inputs_in_their_own_scale(shape):
    judge, x = Judge(shape, 2), 100 + 5 * torch.randn(64, *shape, generator=stream(0))
    assert torch.equal(judge(x), torch.zeros(64, 2))
    judge.scale(x)
    shaken(judge.end, 1.0)
    other = Judge(shape, 2)
    other.load_state_dict(judge.state_dict())
    other.scale(x * 7 - 3)
    assert torch.allclose(judge(x), other(x * 7 - 3), atol=1e-3)
    assert torch.equal(judge(x, [torch.zeros(64, size) for size in judge.hidden]), judge.end.bias.expand(64, 2))
