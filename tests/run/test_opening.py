"""G and S that are not what they seem are found out on the first samples of a run."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import zmax
from tests.run.toys import first, identity, sphere
from zmax.core.errors import InputError, ZmaxWarning
from zmax.core.global_random import left_as_found


def wrapped(decode, **options):
    return zmax.generator(decode, **{"shape": (4,), "name": "mine", **options})


def run(generator, score=first, budget=60, **options):
    return zmax.maximize(generator, score, "random", budget, **options)


def unsteady():
    """Networks that give another answer in training mode."""
    return nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5)), nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64))


OWN = torch.Generator().manual_seed(0)
NOISES = {
    "torch's global random numbers": lambda z: z + 0.1 * torch.randn(z.shape),
    "numpy's global random numbers": lambda z: z + 0.1 * float(np.random.rand()),  # noqa: NPY002
    "Python's global random numbers": lambda z: z + 0.1 * random.random(),
    "another sample at every call": lambda z: z + 0.1 * torch.randn(z.shape, generator=OWN),
}


@pytest.mark.parametrize("source", NOISES)
def test_a_decoder_with_noise_of_its_own_is_refused_with_where_that_comes_from(source, tmp_path):
    with left_as_found(), pytest.raises(InputError, match=f"'mine'[\\s\\S]*{source}[\\s\\S]*part of the latent"):
        run(wrapped(NOISES[source]), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


BATCHES = {
    "expand": lambda z: z[:1].expand(len(z), -1),
    "statistics": lambda z: (z - z.mean(0)) / 2,
    "the same noise for a batch": lambda z: z + torch.randn(z.shape, generator=torch.Generator().manual_seed(0)),
    "squeeze": lambda z: z.squeeze(),
    "texts": lambda z: [str(float(z[0, 0])) for _ in z],
}


@pytest.mark.parametrize("how", BATCHES)
def test_a_decoder_that_looks_at_the_batch_is_refused(how):
    score = zmax.score(lambda text: float(text), per_sample=True) if how == "texts" else first
    with pytest.raises(InputError, match=r"'mine' gives a latent another sample alone than in a batch"):
        run(wrapped(BATCHES[how]), score)


def test_such_a_decoder_works_one_by_one():
    r = run(wrapped(BATCHES["texts"]), zmax.score(lambda text: float(text), per_sample=True), batch_size=1)
    assert r.best.score == float(r.best.z[0])


@pytest.mark.parametrize(("number", "layer"), [(0, "Dropout"), (1, "BatchNorm1d")])
def test_a_network_in_training_mode_is_named_with_the_cure(number, layer):
    net = unsteady()[number]
    with left_as_found(), pytest.raises(InputError, match=rf"Sequential \({layer}\)[\s\S]*\.eval\(\) on Sequential"):
        run(wrapped(lambda z: net(z)))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("fails", [False, True])
def test_networks_that_are_handed_over_are_in_evaluation_mode_and_get_theirs_back(number, fails):
    net = unsteady()[number]
    net[0].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}

    def broken(x):
        raise ValueError("broken")

    generator = wrapped(lambda z: net(z), networks=[net])
    if fails:
        with pytest.raises(InputError, match="broken"):
            run(generator, broken)
    else:
        r = run(generator)
        assert torch.allclose(r.best.sample, net.eval()(r.best.z[None])[0], atol=1e-6)
        net.train()
        net[0].eval()
    assert (net.training, net[0].training, net[1].training) == (True, False, True)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_networks_of_scores_are_in_evaluation_mode_too():
    judge = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.9))
    score = zmax.score(judge)
    judge.train()
    assert run(identity(4), score).warnings == ()
    assert judge.training


class Half(nn.Module):
    """A network of half precision: rounding depends on the batch, as it does on accelerators."""

    def forward(self, z):
        return z.bfloat16().float() if len(z) > 1 else z


def test_rounding_is_no_fault():
    assert run(wrapped(Half())).warnings == ()
    half = Half()
    assert run(identity(), lambda x: half(x)[:, 0]).warnings == ()


RELATIVE = {
    "z-scores": lambda x: (x[:, 0] - x[:, 0].mean()) / x[:, 0].std(),
    "ranks": lambda x: x[:, 0].argsort().argsort().float(),
    "softmax": lambda x: x[:, 0].softmax(0),
    "diversity": lambda x: torch.cdist(x, x).mean(1),
    "batch-norm": lambda x: functional.batch_norm(x, None, None, training=True)[:, 0],
}


@pytest.mark.parametrize("how", RELATIVE)
def test_a_score_relative_to_the_batch_is_refused_with_the_reason(how, tmp_path):
    score = zmax.score(RELATIVE[how], name="odd")
    with pytest.raises(
        InputError, match=r"'odd' gives a sample another value alone than in a batch[\s\S]*no statistics"
    ):
        run(identity(), score, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="'odd'"):
        run(identity(), zmax.score(first) + score)
    for verb in (zmax.finetune, zmax.condition):
        with pytest.raises(InputError, match="'odd'"):
            verb(wrapped(nn.Linear(4, 4)), score, budget=400)


def test_a_batch_norm_in_training_mode_is_named_in_a_score():
    layer = nn.BatchNorm1d(8)
    with pytest.raises(InputError, match=r"BatchNorm1d[\s\S]*\.eval\(\) on BatchNorm1d"):
        run(identity(), lambda x: layer(x)[:, 0])


def test_a_score_that_turns_out_noisy_is_treated_as_if_it_had_said_so(tmp_path):
    def judge():
        rng = torch.Generator().manual_seed(1)
        return lambda x: x[:, 0] + torch.randn(len(x), generator=rng)

    silent = zmax.score(judge(), name="dice", differentiable=False)
    with pytest.warns(ZmaxWarning, match=r"'dice'.*noisy=True"):
        r = run(identity(), silent, budget=200, out=tmp_path / "run")
    assert silent.noisy
    said = run(identity(), zmax.score(judge(), name="dice", differentiable=False, noisy=True), budget=200)
    assert (r.noise is not None, len(r.warnings), said.warnings) == (True, 1, ())
    again = zmax.resume(tmp_path / "run", identity(), zmax.score(judge(), name="dice"), budget=300)
    assert (again.noise is not None, again.warnings) == (True, r.warnings)


def test_a_noisy_term_is_named_and_the_others_are_not():
    rng = torch.Generator().manual_seed(1)
    calm, wild = zmax.score(first, name="calm"), zmax.score(lambda x: torch.rand(len(x), generator=rng), name="wild")
    with pytest.warns(ZmaxWarning, match="'wild'"):
        run(identity(), calm + wild, budget=200)
    assert (calm.noisy, wild.noisy) == (False, True)


def test_a_method_for_exact_scores_refuses_a_noisy_one():
    with pytest.raises(InputError, match=r"exact values[\s\S]*noisy"):
        zmax.maximize(identity(), zmax.score(sphere, noisy=True), "lbfgs", 100)


@pytest.mark.parametrize(("budget", "calls", "decodes"), [(39, 0, 1), (40, 2, 1), (200, 2, 1)])
def test_what_the_checks_cost(budget, calls, decodes):
    r = run(identity(), zmax.score(sphere, differentiable=True), budget, keep=1)
    assert r.ledger.score_calls == budget == len(r.history) + calls
    assert r.ledger.decodes == len(r.history) + decodes


def test_a_small_budget_of_network_evaluations_is_not_spent_on_checks():
    net = nn.Identity()
    slow = zmax.generator(lambda z: [net(z) for _ in range(10)][-1], shape=(4,), networks=[net])
    r = run(slow, budget=zmax.Budget(nfe=100))
    assert r.ledger.nfe == 10 * r.ledger.decodes == 10 * len(r.history)


def test_scores_that_are_all_the_same_are_spoken_of():
    with pytest.warns(ZmaxWarning, match=r"all 5 first samples have the same score, 0: 'flat'"):
        r = run(identity(), zmax.score(lambda x: (x[:, 0] > 9).float(), name="flat"), budget=100)
    assert len(r.warnings) == 1


@pytest.mark.parametrize("same", [first, lambda x: x[:, 0] * 1.0])
def test_a_held_out_score_that_is_the_score_is_spoken_of(same):
    with pytest.warns(ZmaxWarning, match="gives the same values as the score"):
        assert len(run(identity(), first, held_out=same).warnings) == 1
    assert run(identity(), first, held_out=sphere).warnings == ()


PICTURES = {
    "(x + 1) / 2": lambda x: 2 * x - 1,
    "x / 255": lambda x: 255 * x,
    "x.float() / 255": lambda x: (255 * x).byte(),
    "x.permute(0, 3, 1, 2)": lambda x: x.permute(0, 2, 3, 1),
    "decode them by": lambda x: torch.cat([2 * x, x[:, :1] - 1], 1),
    "x[:, :3]": lambda x: torch.cat([x, x[:, :1]], 1),
    "x.clamp(0, 1)": lambda x: 1.2 * x,
    "": lambda x: x,
}


@pytest.mark.parametrize("mend", PICTURES)
def test_pictures_out_of_range_are_spoken_of_once_with_what_mends_it(mend):
    made = wrapped(lambda z: PICTURES[mend](z.sigmoid()), shape=(3, 8, 8), modality="image")
    score = zmax.score(lambda x: x.float().mean((1, 2, 3)))
    if not mend:
        assert run(made, score).warnings == ()
        return
    with pytest.warns(ZmaxWarning, match=re.escape(mend)) as caught:
        assert len(run(made, score).warnings) == len(caught) == 1


def test_pictures_of_pil_are_pictures(tmp_path):
    from PIL import Image

    def decode(z):
        return [Image.fromarray((255 * v.sigmoid()).byte().permute(1, 2, 0).numpy()) for v in z]

    made = wrapped(decode, shape=(3, 8, 8), modality="image")
    r = run(made, "brightness", held_out="colourfulness", out=tmp_path / "run")
    kept = zmax.load_result(tmp_path / "run").best
    assert np.array_equal(np.asarray(kept.sample), np.asarray(made.decode(r.best.z[None])[0]))
    assert r.warnings == ()
    assert "data:image/png" in r.report().read_text()
    assert 0 < kept.score < 1


def test_what_was_said_is_in_result_summary_and_page(tmp_path):
    flat = zmax.score(lambda x: torch.zeros(len(x)), name="<flat>")
    with pytest.warns(ZmaxWarning) as caught:
        r = run(identity(), flat, budget=100, out=tmp_path / "run")
    assert r.warnings == zmax.load_result(tmp_path / "run").warnings == (str(caught[0].message),)
    assert r.summary()["warnings"] == list(r.warnings)
    page = r.report().read_text()
    assert "&lt;flat&gt;&#39; cannot tell them apart" in page
    assert "<flat>" not in page
