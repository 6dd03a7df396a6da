"""Maps of the noises: exact densities, the tilted law as their fixed point, black boxes, files."""

import pytest
import torch

import zmax
from zmax.core.errors import InputError
from zmax.core.proposal import Evaluation
from zmax.core.tuner import Models, Rollout
from zmax.finetune.latents.noise import Noise
from zmax.finetune.latents.regression import NoiseRegression
from zmax.finetune.weights import child_of, read, restored, written
from zmax.generators.mapped import Coupling, Mapped

SCORE = zmax.testing.quadratic_score([[1.0, 0.3], [0.3, 0.5]], [1.0, 1.0])
LAW = zmax.testing.linear_gaussian([[1.2, 0.3], [-0.2, 0.8]], [0.5, 0.0])


def shaken(flow, size=0.2):
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in flow.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=rng))
    return flow


def points(n, dim, seed=1):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dim", [1, 2, 5, 300])
def test_a_map_begins_as_the_identity_and_has_an_inverse_and_the_determinant_it_says(dim):
    flow, u = Coupling(dim), points(3, dim)
    assert torch.equal(flow(u)[0], u)
    flow = shaken(flow.double(), 0.2 if dim < 10 else 0.02)
    with torch.no_grad():
        v, log_det = flow(u.double())
        again, back = flow(v, back=True)
    assert not torch.allclose(v.float(), u, atol=1e-2)
    assert torch.allclose(again, u.double(), atol=1e-8)
    assert torch.allclose(back, -log_det)
    jacobian = torch.autograd.functional.jacobian(lambda u: flow(u[None])[0][0], u[0].double())
    assert torch.allclose(torch.linalg.slogdet(jacobian).logabsdet, log_det[0])


def test_a_map_moves_every_coordinate_and_draws_nothing_from_the_global_stream():
    before = torch.random.get_rng_state()
    first, second = Coupling(7), Coupling(7)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    moved = {int(i) for half in list(first.halves)[:2] for i in half.moved}
    assert moved == set(range(7))


def test_the_divergence_is_that_of_a_known_gaussian():
    mapped = Mapped(LAW.generator(), Coupling(2))
    assert mapped.divergence(100, torch.Generator().manual_seed(0)) == (0.0, 0.0)
    with torch.no_grad():
        mapped.flow.shift.copy_(torch.tensor([1.0, -0.5]))
        mapped.flow.log_scale.fill_(-0.5)
        kl, error = mapped.divergence(20000, torch.Generator().manual_seed(0))
    exact = 0.5 * (2 * torch.tensor(-1.0).exp() + 1.25 - 2 + 2)
    assert abs(kl - exact) < 4 * error < 0.1


def tilted_score(temperature):
    """Return the map to the tilted law in closed form where the score is diagonal."""
    law, score = (
        zmax.testing.linear_gaussian(torch.eye(2)),
        zmax.testing.quadratic_score([[3.0, 0.0], [0.0, 1.0]], [1.0, -2.0]),
    )
    tilted = law.tilt(score, temperature)
    child = child_of(law.generator(), "latents").generator
    with torch.no_grad():
        child.flow.shift.copy_(tilted.mean)
        child.flow.log_scale.copy_(tilted.cov.diagonal().sqrt().log())
    return Models(child, law.generator()), score, tilted


def evaluated(models, u, score):
    u = u.clone().requires_grad_()
    with torch.enable_grad():
        value = score(models.child.decode(models.child.space.latents(u)))
        (grad,) = torch.autograd.grad(value.sum(), u)
    ok = torch.ones(len(u), dtype=torch.bool)
    return Evaluation(value.detach().double(), ok, None, range(len(u)), grad=grad)


def rolled(tuner, models, score):
    with torch.no_grad():
        state, proposal = tuner.collect(tuner.init(models.child, torch.Generator().manual_seed(0)), models)
        return tuner.rollout(state, models, evaluated(models, proposal.at.u, score))[1]


@pytest.mark.parametrize("kind", [Noise, NoiseRegression])
def test_the_map_to_the_tilted_law_is_a_fixed_point_without_noise(kind):
    models, score, tilted = tilted_score(0.5)
    tuner = kind(batch=8, temperature=0.5)
    rollout = rolled(tuner, models, score)
    weights = list(models.child.flow.parameters())
    loss = tuner.loss(models, rollout)
    for row in loss:  # each row by itself
        slopes = torch.autograd.grad(row, weights, retain_graph=True, allow_unused=True)
        assert max(float(s.abs().max()) for s in slopes if s is not None) < 1e-4
    kl, error = tuner.divergence(models, torch.Generator().manual_seed(1))
    exact = 0.5 * (tilted.cov.trace() + tilted.mean.square().sum() - 2 - torch.logdet(tilted.cov))
    assert abs(kl - float(exact)) < 4 * error
    with torch.no_grad():
        models.child.flow.shift.add_(0.5)
    rollout = rolled(tuner, models, score)
    slopes = torch.autograd.grad(tuner.loss(models, rollout).mean(), weights, allow_unused=True)
    assert slopes[1].norm() > 0.1  # of the shift


def test_the_inverse_carries_gradients_on_to_the_mapped_noises():
    child = child_of(LAW.generator(), "latents").generator
    shaken(child.flow)
    models, tuner = Models(child, LAW.generator()), Noise(batch=6, temperature=1.0)
    rollout = rolled(tuner, models, SCORE)
    u = rollout["u"]
    v = child.flow(u)[0].detach().requires_grad_()
    (slope,) = torch.autograd.grad(SCORE(LAW.generator().decode(v)).sum(), v)
    assert torch.allclose(rollout["slope"], slope, rtol=1e-3)


@pytest.mark.parametrize("kind", [Noise, NoiseRegression])
def test_rows_of_the_loss_know_nothing_of_each_other(kind):
    child = child_of(LAW.generator(), "latents").generator
    models = Models(child, LAW.generator())
    names = ("u", "slope") if kind is Noise else ("v", "wanted")
    rows = {names[0]: points(6, 2), names[1]: points(6, 2, 2) if kind is Noise else points(6, 1, 2)[:, 0]}
    whole = kind(temperature=1.0).loss(models, Rollout(rows))
    assert torch.allclose(kind().loss(models, Rollout(rows).at(torch.tensor([4, 1]))), whole[[4, 1]], atol=1e-6)


@pytest.mark.parametrize(("kind", "budget"), [(Noise, 600), (NoiseRegression, 1200)])
def test_the_child_follows_the_tilted_law(kind, budget):
    tilted = LAW.tilt(SCORE, 0.5)
    t = zmax.finetune(LAW.generator(), SCORE, kind(temperature=0.5), budget=budget, looks=2, keep="last")
    with torch.no_grad():
        v = t.generator.moved(points(4000, 2))[0].double()
    assert (v.mean(0) - tilted.mean).abs().max() < 0.1
    assert (v.T.cov() - tilted.cov).abs().max() < 0.12
    kl = 0.5 * (tilted.cov.trace() + tilted.mean.square().sum() - 2 - torch.logdet(tilted.cov))
    assert t.after.look.kl == pytest.approx(float(kl), abs=0.12)


def test_a_child_is_the_parent_behind_a_map_and_comes_back_from_its_file():
    G = LAW.generator()
    begun = [w.requires_grad for w in G.layer.parameters()]
    child = child_of(G, "latents")
    z = G.space.latents(points(3, 2))
    assert child.generator.space is G.space
    assert torch.equal(child.generator.decode(z), G.decode(z))
    assert list(child.weights)[:2] == ["flow.log_scale", "flow.shift"]
    assert "weights move" in child.describe()
    child.load({name: tensor + 0.1 for name, tensor in child.tensors().items()})
    again = restored(G, *read(written(child, {"score": "mine"})))
    assert torch.allclose(again.generator.decode(z), child.generator.decode(z), atol=1e-6)
    assert not torch.allclose(again.generator.decode(z), G.decode(z))
    assert [w.requires_grad for w in G.layer.parameters()] == begun
    with pytest.raises(InputError, match="layers"):
        child_of(G, "latents", layers=("0",))


def test_a_run_of_words_is_loaded_again(tmp_path):
    (tmp_path / "words.py").write_text(
        "import zmax\n"
        "G = zmax.generator(lambda z: [f'{row:.2f}' for row in z[:, 0]], shape=(2,), modality='text')\n"
        "S = zmax.score(lambda words: __import__('torch').tensor([float(word) for word in words]), name='length')\n"
    )
    file = f"{tmp_path}/words.py"
    t = zmax.finetune(f"{file}:G", f"{file}:S", "noise-regression", budget=300, out=tmp_path / "run", looks=2)
    u = points(5, 2)
    again = zmax.load_generator(f"tuned:{tmp_path}/run")
    assert again.decode(again.space.latents(u)) == t.generator.decode(t.generator.space.latents(u))
    assert t.ledger.score_calls <= 300


@pytest.mark.parametrize("prior", ["normal", "uniform", "truncated", "sphere"])
def test_maps_begin_as_the_parent_under_every_prior(prior):
    G = zmax.generator(lambda z: z, shape=(6,), prior=prior, modality="vector", differentiable=True)
    child, u = child_of(G, "latents").generator, points(5, 6)
    assert torch.allclose(child.decode(child.space.latents(u)), G.decode(G.space.latents(u)), atol=1e-4)
    assert (child.space is G.space) == (prior != "sphere")


def test_networks_in_both_are_counted_once():
    G = LAW.generator()
    t = zmax.finetune(G, SCORE, Noise(batch=8, temperature=1.0), budget=60, looks=2, fresh=8)
    assert t.ledger.nfe == t.ledger.decodes
    assert t.ledger.nfe_backward == t.ledger.score_grads
