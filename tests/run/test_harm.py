"""Code of the user's can harm neither what others see nor what is kept; what it changes is put back."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import nn

import zmax
from tests.run.toys import first, identity, sphere
from zmax.core.errors import InputError, ZmaxWarning
from zmax.core.global_random import moved, positions

LAYER = nn.Linear(8, 4)


def lists(z):
    return [row.tolist() for row in z]


def pictures(z):
    from PIL import Image

    return [Image.fromarray((row.sigmoid() * 255).byte().numpy()[None]) for row in z]


def write(x):
    """Take the first numbers of samples, and leave zeros behind."""
    if isinstance(x, (torch.Tensor, np.ndarray)):
        values = x[:, 0].copy() if isinstance(x, np.ndarray) else x[:, 0].clone()
        x *= 0
        return values
    values = [row[0] if isinstance(row, list) else float(row.getpixel((0, 0))) for row in x]
    for row in x:
        row.clear() if isinstance(row, list) else row.paste(0, (0, 0, *row.size))
    return values


def read(x):
    return (
        x[:, 0]
        if isinstance(x, (torch.Tensor, np.ndarray))
        else [row[0] if isinstance(row, list) else float(row.getpixel((0, 0))) for row in x]
    )


@pytest.mark.parametrize(
    ("decode", "numpy", "said"), [(LAYER, False, 1), (LAYER, True, 0), (lists, False, 0), (pictures, False, 0)]
)
@pytest.mark.filterwarnings("ignore:the score 'writes'")
def test_a_score_that_writes_into_its_input_harms_no_one(decode, numpy, said):
    G = zmax.generator(decode, shape=(8,))
    both = zmax.score(write, name="writes", numpy=numpy) + zmax.score(read, name="reads", numpy=numpy)
    r = zmax.maximize(G, both, "random", 80, held_out=zmax.score(read, name="judge") * 4)
    assert len(r.warnings) == said
    for entry in (*r.leaders, *r.reference):
        assert entry.parts["writes"] == entry.parts["reads"] == entry.score / 2
        assert entry.held_out / 4 == pytest.approx(entry.score / 2, abs=1e-6)  # made again, in another batch
        made = G.decode(entry.z[None])[0]
        if isinstance(made, torch.Tensor):
            torch.testing.assert_close(entry.sample, made)  # alone, a layer rounds otherwise
        else:
            assert np.array_equal(np.asarray(entry.sample), np.asarray(made))


def test_a_score_that_writes_is_named_and_keeps_its_gradients():
    def doubled(x):
        return x.mul_(2)[:, 0]

    with pytest.warns(ZmaxWarning, match="'doubled' writes into the samples"):
        r = zmax.maximize(identity(), doubled, budget=200)
    assert r.spec.method == "gradient"
    assert r.best.score == pytest.approx(2 * float(r.best.sample[0]))
    with pytest.warns(ZmaxWarning, match="'doubled'"):
        judged = zmax.maximize(identity(), first, "random", 60, held_out=doubled)
    assert judged.best.held_out == pytest.approx(2 * judged.best.score)


@pytest.mark.filterwarnings("ignore:the score 'write'")
def test_samples_that_a_user_brings_are_not_written_into():
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    c = zmax.condition(None, write, data=x, budget=200, params={"steps": 10})
    assert torch.equal(x, before)
    assert c.warnings


@pytest.mark.parametrize("kind", ["tensor", "array", "list"])
@pytest.mark.parametrize("batch_size", [4, 32])
def test_a_decoder_may_use_its_memory_again(kind, batch_size):
    buffer = {"tensor": torch.zeros(64, 8), "array": np.zeros((64, 8), np.float32), "list": [[0.0]] * 64}[kind]
    cells = [[0.0] for _ in range(64)]

    def decode(z):
        if kind == "list":
            for cell, row in zip(cells, z, strict=False):
                cell[0] = float(row[0])
            return cells[: len(z)]
        buffer[: len(z)] = z if kind == "tensor" else z.numpy()
        return buffer[: len(z)]

    G, S = zmax.generator(decode, shape=(8,)), zmax.score(lambda x: [float(row[0]) for row in x], differentiable=False)
    r = zmax.maximize(G, S, "cma", 100, batch_size=batch_size)
    assert r.warnings == ()
    for entry in (*r.leaders, *r.reference):
        assert entry.score == float(entry.sample[0]) == float(entry.z[0])


def test_a_value_that_fails_does_not_make_a_black_box():
    def brittle(x):
        if bool((x[:, 0] > 0.3).any()):
            raise ValueError("too high")
        return x[:, 1].sum() if len(x) == 1 else x[:, 1]  # of one sample, a number

    assert zmax.maximize(identity(), zmax.score(brittle), budget=60).spec.method == "gradient"

    def rough(z):
        if bool((z[:, 0] > 0).any()):
            raise ValueError("too high")
        return z * 1

    half = zmax.generator(rough, shape=(8,))
    r = zmax.maximize(half, zmax.score(sphere), budget=100, max_failures=1.0)
    assert r.spec.method == "gradient"


CHANGES = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "directory": lambda: os.chdir("/"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("method", ["random", "gradient", "cma", "snes", "sphere-cma", "turbo"])
def test_what_a_score_changes_globally_changes_no_result(what, method, here):
    def changing(x):
        values = sphere(x)
        CHANGES[what]()
        return values

    plain = zmax.maximize(identity(), zmax.score(sphere, differentiable=True), method, 80)
    r = zmax.maximize(identity(), zmax.score(changing, differentiable=True), method, 80, out="run")
    assert np.array_equal(r.history.score, plain.history.score)
    assert r.report().resolve() == here / "run" / "report.html"
    assert (torch.get_default_dtype(), torch.get_default_device().type) == (torch.float32, "cpu")
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("verb", [zmax.maximize, zmax.finetune])
def test_the_users_defaults_hold_in_the_users_code_alone(verb, here):
    seen = set()

    def looking(x):
        seen.add((torch.get_default_dtype(), torch.get_default_device().type))
        return x[:, 0]

    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    with torch.no_grad():
        verb(zmax.generator(LAYER, shape=(8,)), zmax.score(looking, differentiable=True), budget=200)
    assert seen == {(torch.float64, "meta")}
    assert (torch.get_default_dtype(), torch.get_default_device().type) == (torch.float64, "meta")


@pytest.mark.parametrize(("parametrisation", "schedule"), [("velocity", "rectified-flow"), ("edm", "edm")])
def test_the_users_defaults_hold_in_a_denoiser_of_theirs(parametrisation, schedule, here):
    seen = set()

    def looking(x_t, t=None):
        seen.add((torch.get_default_dtype(), torch.get_default_device().type))
        return x_t * 1

    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    G = zmax.diffusion(looking, shape=(4,), schedule=schedule, steps=3, parametrisation=parametrisation, finish=looking)
    zmax.maximize(G, first, "fk", budget=60)
    assert seen == {(torch.float64, "meta")}
    assert (torch.get_default_dtype(), torch.get_default_device().type) == (torch.float64, "meta")


def test_a_run_works_where_no_gradients_can_be_had():
    with torch.inference_mode():
        assert zmax.maximize(identity(), sphere, "gradient", 60).ledger.bad_gradients == 0


def test_the_global_random_numbers_are_left_as_they_were_found(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import random, numpy, torch, zmax\n"
        "torch.manual_seed(0); numpy.random.seed(0); random.seed(0)\n"
        "G = zmax.generator(torch.nn.Linear(4, 2), shape=(4,))\n"
        "def S(x):\n    return x[:, 0]\n"
    )
    before = positions()
    for spec in ("avatars-gan", f"{file}:G"):
        zmax.load_generator(spec)
    for spec in ("attribute:glasses", f"{file}:S"):
        zmax.load_score(spec)
    zmax.maximize("avatars-gan", "attribute:glasses", "random", 60)
    zmax.finetune("avatars-gan", "brightness", budget=100)
    assert "torch" not in moved(before)
    assert "numpy" not in moved(before)  # that of Python is moved by the checks of shapes that tests switch on


@pytest.mark.parametrize("method", ["cma", "cma-mae", zmax.search.CMA()])
def test_a_full_covariance_of_too_many_dimensions_is_refused(method, tmp_path):
    with pytest.raises(InputError, match=r"at most 2,000[\s\S]*3,000[\s\S]*'sphere-cma' or 'snes'"):
        zmax.maximize(identity(3000), first, method, 100, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert zmax.maximize(identity(3000), lambda x: x.detach()[:, 0], budget=100).spec.method == "snes"
