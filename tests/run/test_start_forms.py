"""What a start may be: latents, samples, a run, a table; each becomes the same points, at the same charge."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

import zmax
from zmax.core.errors import InputError, StoreError, ZmaxWarning
from zmax.core.rng import stream
from zmax.run.inverse import network_scale

MATRIX = torch.randn(5, 3, generator=stream(0, "matrix"))


class Linear(torch.nn.Module):
    """x = A u, and its pseudo-inverse as the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(MATRIX.clone())

    def forward(self, z):
        return z @ self.weight.T

    def encode(self, x):
        u = x @ torch.linalg.pinv(self.weight).T
        return u, torch.zeros_like(u)


def linear(*, encoder: bool = True):
    net = Linear()
    return zmax.generator(net, shape=(3,), modality="vector", name="linear", encoder=net.encode if encoder else None)


def first(x):
    return x[:, 0]


S = zmax.score(first, differentiable=True, name="first")
U = torch.tensor([[0.5, -1.0, 0.25], [1.0, 1.0, -1.0]])


def begun(r):
    """The points and scores of the round that a run began with."""
    chunk = next(c for c in r._journal.chunks() if c.round == 0)
    return chunk.u, chunk.score


def maximize(G, start, method="cma", budget=60, score=S, **more):
    return zmax.maximize(G, score, method, budget, start=start, progress=False, **more)


def test_samples_are_inverted_by_the_encoder():
    r = maximize(linear(), {"samples": U @ MATRIX.T})
    assert torch.allclose(begun(r)[0], U, atol=1e-5)
    assert r.began_at.startswith("2 samples, inverted by its encoder (mean squared error ")
    assert r.began_with == pytest.approx(float((U @ MATRIX.T)[:, 0].max()), abs=1e-5)


def test_samples_are_inverted_by_search_where_there_is_no_encoder():
    G, x = linear(encoder=False), U[:1] @ MATRIX.T
    plain = zmax.maximize(G, S, "cma", 60, progress=False)
    r = maximize(G, x[0])
    assert torch.allclose(begun(r)[0], U[:1], atol=1e-2)
    assert 400 < r.ledger.decodes - plain.ledger.decodes < 600  # the search is charged, its distance is no score call
    assert r.ledger.score_calls == plain.ledger.score_calls == 60


LAW = zmax.testing.gaussian_mixture([[0.0] * 40], torch.eye(40)[None].tolist(), [1.0])


@pytest.mark.parametrize(("eta", "method"), [(1.0, "snes"), (0.0, "snes"), (1.0, "paths")])
def test_samples_are_inverted_along_the_path(eta, method):
    G = LAW.generator(steps=40, eta=eta)
    x = torch.randn(2, 40, generator=stream(1, "x"))
    r = maximize(G, {"samples": x}, method, 100)
    u = begun(r)[0]
    assert float((G.decode(G.space.latents(u)) - x).square().mean()) < 0.1  # two draws differ by 2
    assert float(G.space.plausibility(u).min()) > 1e-3


def test_latents_of_a_deterministic_model_lead_to_its_sample_on_a_path_with_noise():
    G = LAW.generator(steps=40, eta=0.0)
    z = torch.randn(1, 40, generator=stream(2, "z"))
    r = maximize(G, {"z": z}, "paths", 100)
    made = G.stochastic().decode(G.stochastic().space.latents(begun(r)[0]))
    assert float((made - G.decode(z)).square().mean()) < 0.1


def test_what_cannot_be_inverted_well_is_said():
    G = zmax.generator(lambda z: z.clamp(0, 0.1), shape=(4,), modality="vector")
    with pytest.warns(ZmaxWarning, match="the start is far from what was given"):
        maximize(G, {"samples": torch.full((1, 4), 9.0)}, "snes", 60, zmax.score(lambda x: x.sum(1)))


def test_the_best_of_a_result_or_a_folder_are_scored_anew(tmp_path):
    other = zmax.score(lambda x: -x[:, 0], differentiable=True, name="other")
    before = zmax.maximize(linear(), other, "snes", 100, keep=4, out=tmp_path / "before", progress=False)
    for start in (before, tmp_path / "before", str(tmp_path / "before")):
        r = maximize(linear(), start)
        u, score = begun(r)
        assert torch.equal(u, torch.stack([e.u for e in before.top(4)]))
        assert score.tolist() == pytest.approx([-e.score for e in before.top(4)], rel=1e-6)
        assert r.began_at.startswith("the best 4 samples of ")
    assert r.spec.start == str(tmp_path / "before")
    assert "start" not in r.spec.objects


def test_known_scores_are_taken_as_evaluated_and_one_of_them_is_checked(tmp_path):
    known = zmax.maximize(linear(), S, "random", 200, progress=False)
    plain = zmax.maximize(linear(), S, "turbo", 60, progress=False)
    frame = known.history.to_pandas()
    frame.to_csv(tmp_path / "known.csv")
    for start in (frame, tmp_path / "known.csv", {"u": known.history.latents(), "score": known.history.score}):
        r = maximize(linear(), start, "turbo")
        u, score = begun(r)
        assert len(u) == len(known.history)
        assert score.tolist() == sorted(known.history.score.tolist(), reverse=True)
        assert r.ledger.score_calls == plain.ledger.score_calls == 60
        told = len(r.history) - len(u)
        assert told == len(plain.history) - 1
        assert r.best.score > known.best.score
    assert torch.allclose(r.best.sample, r.best.u @ MATRIX.T, atol=1e-5)


def test_a_known_best_that_nothing_beats_is_the_best_with_its_sample():
    top = torch.tensor([[3.0, 0.0, 0.0]])
    flat = zmax.score(lambda x: torch.where(x[:, 0] > 100, 1.0, (x[:, 0] == (top @ MATRIX.T)[0, 0]).float()))
    r = maximize(linear(), (top, [1.0]), "snes", 60, flat, guard="report")
    assert r.best.score == 1.0
    assert torch.allclose(r.best.sample, (top @ MATRIX.T)[0])


def test_scores_of_something_else_are_refused():
    with pytest.raises(InputError, match=r"scores of start= are not those of 'first'(.|\n)*leave the scores out"):
        maximize(linear(), (U, [7.0, 5.0]))
    noisy = zmax.score(lambda x: x[:, 0], noisy=True)
    assert maximize(linear(), (U, [7.0, 5.0]), score=noisy).began_with == 7.0


def test_pairs_with_failures_leave_these_out():
    z = torch.cat([U, torch.full((1, 3), 0.1)])
    scores = [float((U @ MATRIX.T)[0, 0]), math.nan, float("-inf")]
    assert torch.equal(begun(maximize(linear(), (z, scores)))[0], U[:1])


def test_a_table_without_scores_holds_latents(tmp_path):
    file = tmp_path / "z.csv"
    file.write_text("z[0],z[1],z[2]\n0.5,-1,0.25\n1,1,-1\n")
    r = maximize(linear(), file)
    assert torch.equal(begun(r)[0], U)
    file.write_text("z[0],z[1],score\n0.5,-1,0.25\n")
    with pytest.raises(InputError, match=r"columns of z\.csv in start=\n  expected: z\[0\] to z\[2\], and score"):
        maximize(linear(), file)


def test_pairs_of_a_combined_score_have_no_parts():
    both = S + zmax.score(lambda x: x[:, 1], differentiable=True, name="second")
    x = U @ MATRIX.T
    r = maximize(linear(), (U, (x[:, 0] + x[:, 1]).tolist()), "turbo", 60, both)
    frame = r.history.to_pandas()
    known = frame[frame["round"] == 0]
    assert known["second"].isna().all()
    assert frame["second"].notna().sum() == len(frame) - 2


def test_a_picture_is_a_sample(tmp_path):
    G = zmax.load_generator("avatars-vae")
    x = G.decode(G.space.latents(G.space.sample(1, stream(3, "picture"))))[0].detach()
    Image.fromarray((x * 255).round().byte().permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    brightness = zmax.load_score("brightness")
    from_file = maximize(G, tmp_path / "a.png", "snes", 60, brightness)
    from_tensor = maximize(G, x.numpy(), "snes", 60, brightness)
    assert "inverted by its encoder" in from_file.began_at
    assert torch.allclose(begun(from_file)[0], begun(from_tensor)[0], atol=0.1)


def test_the_history_carries_the_latents():
    r = zmax.maximize(linear(), S, "snes", 60, progress=False)
    frame = r.history.to_pandas()
    u = torch.from_numpy(frame[["u[0]", "u[1]", "u[2]"]].to_numpy(dtype=np.float32).copy())
    assert np.allclose((u @ MATRIX.T)[:, 0], frame["score"], atol=1e-5)


def test_resuming_with_another_score_prior_or_shape_is_refused(tmp_path):
    run = zmax.maximize(linear(), S, "cma", 60, out=tmp_path / "r", progress=False)
    again = zmax.resume(tmp_path / "r", linear(), S, budget=80, progress=False)
    assert again.best.score >= run.best.score
    turned = zmax.score(lambda x: -x[:, 0], differentiable=True, name="first")
    net = Linear()
    wide = zmax.generator(net, shape=(3,), prior=zmax.core.priors.Normal(2.0), modality="vector", name="linear")
    tall = zmax.generator(lambda z: z[:, :3] @ MATRIX.T, shape=(4,), modality="vector", name="linear")
    for G, score in ((linear(), turned), (wide, S)):
        with pytest.raises(StoreError, match=r"the score of sample 0, .*, is now(.|\n)*begins at the best of this one"):
            zmax.resume(tmp_path / "r", G, score, budget=100, progress=False)
    for accept in (False, True):
        with pytest.raises(StoreError, match=r"another generator(.|\n)*expected: 3 latent(.|\n)*got:      4"):
            zmax.resume(tmp_path / "r", tall, S, budget=100, accept_changes=accept, progress=False)


def test_an_image_becomes_the_clean_latents_of_a_diffusers_pipeline():
    pipe = zmax.testing.tiny_pipeline("stable-diffusion")
    G = zmax.generators.from_diffusers(pipe, prompt="a red hat", num_inference_steps=4)
    image = G.decode(G.space.latents(G.space.sample(1, stream(4, "image")))).detach()
    path = G.stochastic()
    made = path.finish(network_scale(path, image))
    assert float((made - image).square().mean()) < 0.15 * float(image.var())
