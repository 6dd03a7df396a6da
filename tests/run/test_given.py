"""What a user brings to a condition: every form gives the same samples and scores, and nothing known is charged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import zmax
from tests.run.test_condition import FRESH, LOOKS, PARAMS, condition, first, model, same
from zmax.condition.scratch import scratch
from zmax.core.errors import InputError, MissingExtraError
from zmax.core.rng import stream
from zmax.finetune.weights.tuned import load_conditioned
from zmax.run.given import given
from zmax.store import Journal
from zmax.testing.trained import PointNetwork

X = torch.randn(60, 2, generator=stream(0, "data"), dtype=torch.float32)
S = zmax.score(first, differentiable=False, name="first")
QUICK = {"params": {**PARAMS, "asks": 0}, "checked": 20, "guidances": "0"}


@pytest.mark.parametrize(
    "data",
    [
        (X, X[:, 0]),
        (X.numpy(), X[:, :1].numpy()),
        (X.tolist(), {"first": X[:, 0].tolist(), "other": [0.0] * 60}),
        TensorDataset(X, X[:, 0]),
    ],
    ids=["tensors", "arrays", "lists by name", "dataset"],
)
def test_every_form_of_pairs_gives_the_same(data):
    found = given(data, ["first"])
    assert torch.equal(found.x, X)
    assert torch.equal(found.score, X[:, :1].double())
    assert str(found) == "60 samples with scores"


class Stream(IterableDataset):
    """Pairs one after the other, without a length."""

    def __iter__(self):
        return iter(zip(X, X[:, 0].tolist(), strict=True))


class Named(Dataset):
    """Samples with scores by name."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], {"other": 0.0, "first": float(X[i, 0])}


class Pictures(Dataset):
    """Pictures of PIL with whole numbers, as `ImageFolder` gives them."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return Image.new("RGB", (8, 4), (10 * i, 0, 255)), i


@pytest.mark.parametrize("data", [Stream(), Named()], ids=["iterable", "by name"])
def test_every_dataset_of_pairs_gives_the_same(data):
    found = given(data, ["first"])
    assert torch.equal(found.x, X)
    torch.testing.assert_close(found.score, X[:, :1].double())


def test_a_dataset_of_pictures_has_channels_first():
    found = given(Pictures(), ["number"])
    assert found.x.shape == (3, 3, 4, 8)
    torch.testing.assert_close(found.x[:, :, 0, 0], torch.tensor([[i * 10 / 255, 0, 1] for i in range(3)]))
    assert found.score.tolist() == [[0.0], [1.0], [2.0]]


def test_a_data_frame_of_scores_is_read_by_name():
    frame = pytest.importorskip("pandas").DataFrame({"second": X[:, 1].numpy(), "first": X[:, 0].numpy()})
    found = given((X, frame), ["first", "second"])
    assert torch.equal(found.score, X.double())
    with pytest.raises(InputError, match="third"):
        given((X, frame), ["third"])


def test_a_dataset_of_several_shapes_or_none_is_refused():
    for rows, told in (([torch.zeros(2), torch.zeros(3)], r"\(2,\), \(3,\)"), ([], "none")):
        with pytest.raises(InputError, match=told):
            given(Rows(rows), ["first"])


class Rows(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def test_a_table_names_the_images_beside_it(tmp_path):
    pixels = pictures(tmp_path)
    (tmp_path / "one.csv").write_text("file,first\n2.png,0.5\n")
    (tmp_path / "two.csv").write_text("file,first\n3.png,0.7\n")
    for name, i, score in (("one.csv", 2, 0.5), ("two.csv", 3, 0.7)):
        found = given(tmp_path / name, ["first"])
        assert torch.equal(found.x[0], torch.from_numpy(pixels[i]).permute(2, 0, 1) / 255)
        assert found.score.tolist() == [[score]]
    with pytest.raises(InputError, match="one table"):
        given(tmp_path, ["first"])
    with pytest.raises(InputError, match="another file"):
        given(tmp_path / "2.png", ["first"])


def test_samples_alone_have_no_scores_and_failed_ones_are_left_out():
    assert given(X, ["first"]).score is None
    holed = X[:, 0].clone()
    holed[3] = torch.nan
    assert len(given((X, holed), ["first"]).x) == 59


def pictures(folder: Path, n: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i}.png")
    return pixels


def test_a_folder_of_images_with_a_table_of_scores(tmp_path):
    pixels = pictures(tmp_path)
    lines = ["file,beauty,first", *(f"{i}.png,{i / 10},{-i}" for i in (4, 2)), "1.png,,0.5"]
    (tmp_path / "scores.csv").write_text("\n".join(lines))
    found = given(tmp_path, ["beauty"])
    assert torch.equal(found.x, torch.from_numpy(pixels[[4, 2]]).permute(0, 3, 1, 2) / 255)
    assert found.score.tolist() == [[0.4], [0.2]]
    both = given(str(tmp_path), ["first", "beauty"])
    assert both.score.tolist() == [[-4.0, 0.4], [-2.0, 0.2]]
    with pytest.raises(InputError, match="expected: file, other"):
        given(tmp_path, ["other"])
    (tmp_path / "scores.csv").unlink()
    assert given(tmp_path, ["other"]).x.shape == (6, 3, 8, 8)


def test_grey_pictures_have_the_channels_of_the_generator(tmp_path):
    for i in range(4):
        Image.new("L", (8, 8), 50 * i).save(tmp_path / f"{i}.png")
    found = given(tmp_path, ["first"])
    assert found.x.shape == (4, 3, 8, 8)
    assert found.like(torch.zeros(1, 1, 8, 8)).x.shape == (4, 1, 8, 8)
    assert found.like(torch.zeros(1, 3, 8, 8)) is found


def test_a_folder_that_cannot_be_meant_is_refused(tmp_path):
    with pytest.raises(InputError, match="a folder of images"):
        given(tmp_path / "none", ["first"])
    with pytest.raises(InputError, match="expected: images"):
        given(tmp_path, ["first"])
    pictures(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="one size"):
        given(tmp_path, ["first"])


def test_parquet_gives_what_csv_gives(tmp_path):
    pictures(tmp_path)
    try:
        import pyarrow as pa
        from pyarrow.parquet import write_table
    except ImportError:
        (tmp_path / "scores.parquet").write_bytes(b"")
        with pytest.raises(MissingExtraError, match="parquet"):
            given(tmp_path, ["first"])
        return
    write_table(pa.table({"file": ["3.png"], "first": [0.25]}), tmp_path / "scores.parquet")
    assert given(tmp_path, ["first"]).score.tolist() == [[0.25]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"\(60, 2\): a row for each sample"):
        given((X, X[:, 0]), ["first", "second"])
    with pytest.raises(InputError, match="all finite"):
        given(torch.full((4, 2), torch.nan), ["first"])
    with pytest.raises(InputError, match="samples, "):
        given(object(), ["first"])
    with pytest.raises(InputError, match="neither"):
        zmax.condition(None, S, budget=100)
    with pytest.raises(InputError, match="those of"):
        condition(None, S, data=(torch.zeros(5, 3), torch.zeros(5)))


def test_known_scores_are_not_charged():
    c = condition(None, S, data=(X, S(X)), **QUICK)
    assert c.ledger.score_calls == (LOOKS + 1) * FRESH + 20 + 4  # of the opening
    assert c.learned == 60
    assert c.spec.data == "60 samples with scores"


def test_samples_without_scores_are_scored_within_the_budget():
    c = condition(None, S, data=X, draws=40, **QUICK)
    assert c.learned == 40
    assert c.ledger.score_calls == 40 + (LOOKS + 1) * FRESH + 20 + 4


def test_data_are_brought_into_the_scale_of_the_network_where_finish_is_affine():
    network = PointNetwork(2, 8, stream(0, "test"))
    models = [
        zmax.diffusion(network, shape=(2,), schedule="rectified-flow", steps=3, finish=finish)
        for finish in (None, lambda x: 2 * x + 1, torch.sinh)
    ]
    plain, scaled = (
        zmax.condition(G, S, data=(x, x[:, 0]), budget=200, fresh=8, progress=False, **QUICK)
        for G, x in zip(models[:2], (X, 2 * X + 1), strict=True)
    )
    knots = plain.child.generator.networks[0].state_dict()
    for name, value in scaled.child.generator.networks[0].state_dict().items():
        torch.testing.assert_close(value, knots[name], atol=1e-4, rtol=1e-3)
    with pytest.raises(InputError, match="in the network's scale"):
        zmax.condition(models[2], S, data=(X, X[:, 0]), budget=200, progress=False, **QUICK)


def test_without_a_generator_a_flow_is_trained_from_scratch_and_loads_by_name(tmp_path):
    x = 5 + 0.1 * X
    c = zmax.condition(None, S, data=(x, x[:, 0]), budget=100, fresh=8, out=tmp_path / "run", progress=False, **QUICK)
    assert c.spec.generator == "scratch:2"
    assert c.spec.command() is None
    drawn = c.sample(50, seed=1)
    torch.testing.assert_close(drawn.mean(0), x.mean(0), atol=0.3, rtol=0)
    loaded = load_conditioned(f"{tmp_path}/run?score=5.05")
    u = loaded.space.sample(3, stream(0, "u"))
    held = c.generator.at(5.05)
    torch.testing.assert_close(loaded.decode(loaded.space.latents(u)), held.decode(held.space.latents(u)))
    again = zmax.resume(tmp_path / "run", score=S, progress=False)
    assert same(again, c)
    assert again.ledger.score_calls == c.ledger.score_calls


def test_a_scratch_flow_keeps_the_scale_of_its_samples():
    pixels = torch.rand(20, 1, 8, 8, generator=stream(0, "pixels")) * 0.2 + 0.4
    G = scratch(pixels.shape[1:])
    network = G.networks[0].network
    network.fit(pixels)
    standard = (pixels - pixels.mean()) / pixels.std()
    torch.testing.assert_close(G.finish(standard), pixels)
    assert float(G.finish(100 * standard).max()) == 1.0
    for shape in ("", "3,7,8", "2,2", "-1"):
        with pytest.raises(InputError, match="from scratch"):
            scratch(shape)


def test_over_rounds_samples_asked_above_the_best_of_the_data_are_scored_and_learned_from(tmp_path):
    params = {"steps": 200, "batch": 32, "asks": 3, "asked": 16}
    options = {"data": (X, X[:, 0]), "params": params, "checked": 20, "guidances": "0", "looks": 1}
    c = condition(tmp_path / "run", S, **options)
    chunks = [chunk for chunk in Journal.open(tmp_path / "run").chunks() if 0 < chunk.round < 1_000_000]
    assert [sum(len(c.score) for c in chunks if c.round == r) for r in sorted({c.round for c in chunks})] == [16] * 3
    assert c.ledger.score_calls == 3 * 16 + 2 * FRESH + 20 + 4
    again = zmax.resume(tmp_path / "run", model(), S, progress=False)
    assert same(again, c)
    plain = condition(None, S, **{**options, "params": {**params, "asks": 0}})
    assert not same(plain, c)
