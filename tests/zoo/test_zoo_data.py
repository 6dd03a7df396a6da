"""Labels follow the pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zoo import data, designs

SAMPLE = Path(__file__).parents[1] / "data" / "avatars-heldout.npz"


@pytest.fixture(scope="module")
def masks() -> dict[str, dict[str, np.ndarray]]:
    """Hand-made: hair on rows 0-3, hat on rows 0-2, glasses on row 5, everything else on its own row."""

    def row(*rows: int) -> np.ndarray:
        mask = np.zeros((16, 16), bool)
        mask[list(rows)] = True
        return mask

    where = {"hat": (0, 1, 2), "hair": (0, 1, 2), "glasses": (5,), "beard": (10,), "mouth": (9,), "clothing": (14,)}
    where["accessories"] = (7,)
    parts = {**data._ALWAYS, **data._SOMETIMES}
    return {part: {variant: row(*where[part]) for variant in variants} for part, variants in parts.items()}


def spec(**changes: object) -> dict[str, object]:
    drawn = data.draw_spec(np.random.default_rng(0))
    return {**drawn, **{f"{part}Probability": 0 for part in data._SOMETIMES}, **changes}


def answers(given: dict[str, object], masks: dict[str, dict[str, np.ndarray]]) -> dict[str, int]:
    return dict(zip((head.name for head in designs.HEADS), data.label(given, masks), strict=True))


def test_hair_under_a_hat_has_no_colour_label(masks: dict[str, dict[str, np.ndarray]]) -> None:
    assert answers(spec(), masks)["hair-colour"] >= 0
    assert answers(spec(hatProbability=100), masks)["hair-colour"] == -1


def test_a_beard_shows_the_colour_of_hidden_hair(masks: dict[str, dict[str, np.ndarray]]) -> None:
    given = spec(hatProbability=100, beardProbability=100, hairColor=[designs.HAIR["grey"]])
    assert answers(given, masks)["hair-colour"] == list(designs.HAIR).index("grey")


def test_a_part_that_hair_covers_is_masked(masks: dict[str, dict[str, np.ndarray]]) -> None:
    covering = np.zeros((16, 16), bool)
    covering[4:8] = True
    over = {**masks, "hair": dict.fromkeys(masks["hair"], covering)}
    given = spec(glassesProbability=100, accessoriesProbability=100)
    assert answers(given, over)["glasses"] == answers(given, over)["earrings"] == -1
    assert answers(spec(), over)["glasses"] == 0  # nothing to hide


def test_sunglasses_are_glasses_with_dark_lenses(masks: dict[str, dict[str, np.ndarray]]) -> None:
    for variant, dark in ((designs.DARK_GLASSES[0], 1), (designs.LIGHT_GLASSES[0], 0)):
        seen = answers(spec(glasses=[variant], glassesProbability=100), masks)
        assert (seen["glasses"], seen["sunglasses"]) == (1, dark)
    assert answers(spec(glasses=[designs.DARK_GLASSES[0]]), masks)["sunglasses"] == 0


def test_draws_are_a_function_of_the_seed() -> None:
    one, same, other = (data.draw_spec(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one == same != other


def test_chances_are_those_named() -> None:
    rng = np.random.default_rng(1)
    drawn = [data.draw_spec(rng) for _ in range(4000)]
    for part, name in (("glasses", "glasses"), ("hat", "hat"), ("beard", "beard"), ("accessories", "earrings")):
        share = np.mean([each[f"{part}Probability"] > 0 for each in drawn])
        assert abs(share - designs.CHANCES[name]) < 0.04  # five standard errors
    assert abs(np.mean([each["hair"][0] in designs.LONG_HAIR for each in drawn]) - designs.CHANCES["long-hair"]) < 0.04


def test_no_label_is_named_twice_and_all_can_be_typed() -> None:
    labels = [label for head in designs.HEADS for label in head.labels]
    assert len(set(labels)) == len(labels)
    assert all(label.replace("-", "").isalpha() and label.islower() for label in labels)


def test_held_out_sample_is_what_the_recipe_names() -> None:
    with np.load(SAMPLE) as archive:
        images, labels, heads = archive["images"], archive["labels"], json.loads(str(archive["heads"]))
    assert images.shape == (256, 16, 16, 3)
    assert images.dtype == np.uint8
    assert heads == [list(head.labels) for head in designs.HEADS]
    for column, head in enumerate(designs.HEADS):
        top = 1 if head.binary else len(head.labels) - 1
        assert labels[:, column].min() >= -1
        assert labels[:, column].max() == top
    background = np.frombuffer(bytes.fromhex(designs.BACKGROUND), np.uint8)
    assert (images[:, 15, 0] == background).all(-1).mean() > 0.9  # long hair may reach the corner
    assert len(np.unique(images.reshape(256, -1), axis=0)) == 256
