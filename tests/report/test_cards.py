"""One card a sample: its kind, its numbers, and a vector's bars to scale."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

import zmax
from zmax.report.cards import cards, printed, vector_limit
from zmax.report.pictures import data_uri, enlarged, is_image, pixels
from zmax.results.spec import RunSpec
from zmax.store import Entry

NAN, INF = float("nan"), float("inf")


def entry(sample, score=1.0, **more) -> Entry:
    return Entry(0, score, 0.5, torch.zeros(1), torch.zeros(1), sample, **more)


def card(sample, modality="vector", limit=1.0, **spec):
    return cards(
        [entry(sample)], "Best sample", RunSpec("g", "s", "m", zmax.Budget(nfe=1), modality=modality, **spec), limit
    )[0]


def test_bars_stand_on_the_middle_line_up_for_positive_and_down_for_negative():
    shown = card(torch.tensor([4.0, -2.0, 0.0, 9.0]), limit=4.0).bars
    assert [bar.x for bar in shown] == [0.0, 30.0, 60.0, 90.0]
    assert [bar.width for bar in shown] == [24.0] * 4
    assert [bar.height for bar in shown] == [30.0, 15.0, 0.0, 30.0]
    assert [bar.y for bar in shown] == [0.0, 30.0, 30.0, 0.0]


def test_bars_are_placed_to_a_hundredth():
    second = card(torch.ones(7), limit=7.0).bars[1]
    assert (second.x, second.y, second.width, second.height) == (17.14, 25.71, 13.71, 4.29)


def test_at_most_sixty_four_bars_and_three_numbers_are_shown():
    long = card(torch.arange(100.0))
    assert len(long.bars) == 64
    assert long.text == "0, 1, 2 … (100)"
    assert card([1.0, 2.5, 3.0]).text == "1, 2.5, 3"
    assert card(torch.tensor([NAN])).bars[0].height == 0


def test_the_scale_is_the_largest_finite_value():
    entries = [entry(torch.tensor([1.0, -3.0])), entry([2.0, INF]), entry("text"), entry([NAN])]
    assert vector_limit(entries) == 3.0
    assert vector_limit([entry("text")]) == 1.0
    assert vector_limit([entry([0.0, 0.0])]) == 1.0


@pytest.mark.parametrize(
    ("sample", "modality", "kind"),
    [
        (torch.rand(3, 4, 4), "image", "image"),
        (torch.rand(3, 4, 4), "vector", "vector"),
        (torch.rand(2, 4, 4), "image", "vector"),
        ([1, 2.5], "other", "vector"),
        (7, "other", "vector"),
        (True, "other", "text"),
        ([1, "a"], "other", "text"),
        ([], "other", "text"),
        (torch.ones(2), "text", "text"),
        (torch.ones(2, dtype=torch.complex64), "other", "text"),
    ],
)
def test_the_kind_of_a_card(sample, modality, kind):
    assert card(sample, modality).kind == kind


@pytest.mark.parametrize("n", [2, 5, 60])
def test_a_video_moves(n):
    shades = torch.linspace(0, 1, n)[:, None, None, None].expand(n, 3, 8, 16)
    made = card(shades, "video")
    assert (made.kind, made.ratio, made.coarse) == ("image", 2.0, True)
    with Image.open(io.BytesIO(base64.b64decode(made.image.removeprefix("data:image/gif;base64,")))) as film:
        assert (film.n_frames, film.size) == (min(n, 24), (16, 8))
        for i, wanted in ((0, 0), (film.n_frames - 1, 255)):
            film.seek(i)
            assert set(np.asarray(film.convert("L")).flatten().tolist()) == {wanted}
    assert card(shades.transpose(0, 1), "video").image == made.image
    assert card(torch.rand(2, 5), "video").kind == "vector"


def test_a_picture_has_its_ratio_and_few_pixels_are_shown_as_squares():
    assert (card(torch.rand(3, 40, 96), "image").ratio, card(torch.rand(3, 40, 96), "image").coarse) == (2.4, True)
    assert card(torch.rand(3, 97, 4), "image").coarse is False


def test_long_texts_are_cut():
    assert card("a" * 2000, "text").text == "a" * 2000
    assert card("a" * 2001, "text").text == "a" * 2000 + " …"


def test_sixteen_cards_at_most_numbered_from_one():
    made = cards([entry("a")] * 20, "Random sample", RunSpec("g", "s", "m", zmax.Budget(nfe=1)), 1.0)
    assert [made[0].title, made[-1].title, len(made)] == ["Random sample 1", "Random sample 16", 16]


def test_probabilities_are_shown_of_log_odds_alone():
    spec = RunSpec("g", "s", "m", zmax.Budget(nfe=1), unit="log-odds", held_out="h", held_out_unit="log-odds")
    both, failed = cards([entry("a", 0.0, held_out=-1000.0), entry("b", 1000.0)], "Best", spec, 1.0)
    assert (both.probability, both.held_out_probability, both.judged) == (0.5, 0.0, True)
    assert (failed.probability, failed.held_out_probability) == (1.0, None)
    plain = cards([entry("a", held_out=1.0)], "Best", RunSpec("g", "s", "m", zmax.Budget(nfe=1), unit="kB"), 1.0)[0]
    assert (plain.probability, plain.held_out_probability, plain.judged) == (None, None, False)


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        ("as <it> is", "as <it> is"),
        (torch.tensor([[1.5], [2.0]]), "[[1.5], [2.0]]"),
        ({"ä": [1, None]}, '{"ä": [1, null]}'),
        (1 + 2j, "(1+2j)"),
        (torch.zeros(10_001), "Tensor of shape (10001,)"),
    ],
)
def test_any_sample_in_print(sample, text):
    assert printed(sample) == text


def test_ten_thousand_numbers_are_still_printed():
    assert printed(torch.zeros(10_000)).count("0.0") == 10_000


@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5), (3, 4, 5)])
def test_tensors_of_these_shapes_are_pictures(shape):
    assert is_image(torch.zeros(shape))


@pytest.mark.parametrize(
    "sample", [torch.zeros(4), torch.zeros(2, 4, 5), torch.zeros(3, 0, 5), torch.zeros(1, 3, 4, 5)]
)
def test_others_are_not(sample):
    assert not is_image(sample)
    assert not is_image(sample.numpy())
    assert not is_image(torch.zeros(4, 5, dtype=torch.complex64))


def test_pixels_are_clamped_and_what_is_no_number_is_black():
    levels = torch.tensor([[-1.0, 0.0, 0.5, 1.0, 2.0, NAN, INF, -INF]])
    assert pixels(levels).tolist() == [[0, 0, 128, 255, 255, 0, 255, 0]]


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


def test_a_small_picture_is_exact_and_a_large_one_fits_eighteen_kilobytes():
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    small, large = data_uri(noise[:60, :60]), data_uri(noise)
    assert small.startswith("data:image/png")
    assert np.array_equal(np.asarray(decoded(small)), noise[:60, :60])
    assert large.startswith("data:image/jpeg")
    assert len(base64.b64decode(large.partition("base64,")[2])) <= 18_000
    assert max(decoded(large).size) >= 128
    flat = data_uri(np.zeros((400, 480, 3), dtype=np.uint8))
    assert flat.startswith("data:image/png")
    assert decoded(flat).size == (480, 400)


@pytest.mark.parametrize(("shape", "size"), [((1, 1), 256), ((100, 60), 300), ((256, 300), 256), ((255, 300), 510)])
def test_pictures_are_enlarged_until_no_side_is_shorter_than_256(shape, size):
    assert min(enlarged(np.zeros(shape, dtype=np.uint8)).size) == size
