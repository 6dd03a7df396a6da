"""Renders the avatars and their labels: `python -m zoo.data` writes `zoo/build/avatars.npz`.

Pictures are 16x16 RGB renders of DiceBear's pixel-art designs (CC0). Labels are what was asked for, masked (-1) in a
picture where other parts hide it: the pixels of each part come from the difference of two renders, and the order of
drawing is known.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo import designs

HERE = Path(__file__).parent
BUILD = HERE / "build"
ARCHIVE = BUILD / "avatars.npz"
HELD_OUT_SAMPLE = HERE.parent / "tests" / "data" / "avatars-heldout.npz"
SIZES = {"train": 20_000, "judge": 12_000, "held-out": 4_000}
SEEDS = {"train": 1, "judge": 2, "held-out": 3}

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]
Spec = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """Pictures (n, 16, 16, 3) and labels (n, heads): class index, 0 or 1 for a yes or no, -1 where hidden."""

    images: Pixels
    labels: Labels


def draw_spec(rng: np.random.Generator) -> Spec:
    """One avatar's options, drawn independently of one another."""

    def pick(values: tuple[str, ...] | dict[str, str]) -> list[str]:
        options = tuple(values.values()) if isinstance(values, dict) else values
        return [options[int(rng.integers(len(options)))]]

    def happens(name: str) -> bool:
        return bool(rng.random() < designs.CHANCES[name])

    return {
        "backgroundColor": [designs.BACKGROUND],
        "skinColor": pick(designs.SKIN),
        "hair": pick(designs.LONG_HAIR if happens("long-hair") else designs.SHORT_HAIR),
        "hairColor": pick(designs.HAIR),
        "clothing": pick(designs.CLOTHES),
        "clothingColor": pick(designs.CLOTHING),
        "eyes": pick(designs.EYES),
        "eyesColor": pick(designs.EYE_COLOURS),
        "mouth": pick(designs.HAPPY_MOUTHS if happens("happy") else designs.OTHER_MOUTHS),
        "mouthColor": pick(designs.MOUTH_COLOURS),
        "glasses": pick(designs.DARK_GLASSES if happens("sunglasses") else designs.LIGHT_GLASSES),
        "glassesColor": pick(designs.GLASSES_COLOURS),
        "glassesProbability": 100 * happens("glasses"),
        "beard": pick(designs.BEARDS),
        "beardProbability": 100 * happens("beard"),
        "hat": pick(designs.HATS),
        "hatColor": pick(designs.HAT),
        "hatProbability": 100 * happens("hat"),
        "accessories": pick(designs.EARRINGS),
        "accessoriesColor": pick(designs.EARRING_COLOURS),
        "accessoriesProbability": 100 * happens("earrings"),
    }


def render(specs: list[Spec]) -> Pixels:
    """Pictures (n, 16, 16, 3) of the options, by `render.mjs`."""
    if not (HERE / "node_modules").exists():
        subprocess.run([_tool("npm"), "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    lines = "\n".join(json.dumps(spec) for spec in specs).encode()
    done = subprocess.run([_tool("node"), "render.mjs"], cwd=HERE, input=lines, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(len(specs), 16, 16, 3)


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name}: not found; rendering needs Node.js 18 or newer with npm")
    return path


# ---- what hides what -------------------------------------------------------------------------------------------------

_PLAIN: Spec = {
    "backgroundColor": ["dce6f0"],
    "skinColor": ["ffdbac"],
    "hair": ["short04"],
    "hairColor": ["4e2a0e"],
    "clothing": ["variant03"],
    "clothingColor": ["428bca"],
    "eyes": ["variant04"],
    "eyesColor": ["5b7c8b"],
    "mouth": ["sad06"],
    "mouthColor": ["de0f0d"],
    **{f"{part}Probability": 0 for part in ("glasses", "beard", "hat", "accessories")},
}
_ALWAYS = {
    "hair": designs.SHORT_HAIR + designs.LONG_HAIR,
    "clothing": designs.CLOTHES,
    "mouth": designs.HAPPY_MOUTHS + designs.OTHER_MOUTHS,
}
_SOMETIMES = {
    "glasses": designs.LIGHT_GLASSES + designs.DARK_GLASSES,
    "beard": designs.BEARDS,
    "hat": designs.HATS,
    "accessories": designs.EARRINGS,
}


def part_masks() -> dict[str, dict[str, Mask]]:
    """Where each variant of each part paints: the pixels in which two renders differ."""
    pairs: dict[tuple[str, str], tuple[Spec, Spec]] = {}
    for part, variants in _ALWAYS.items():
        for variant in variants:
            one = {**_PLAIN, part: [variant], f"{part}Color": ["ff00ff"]}
            pairs[part, variant] = one, {**one, f"{part}Color": ["00ff00"]}
    for part, variants in _SOMETIMES.items():
        for variant in variants:
            with_part = {**_PLAIN, part: [variant], f"{part}Color": ["ff00ff"], f"{part}Probability": 100}
            pairs[part, variant] = _PLAIN, with_part
    renders = render([spec for pair in pairs.values() for spec in pair]).reshape(-1, 2, 16, 16, 3)
    masks: dict[str, dict[str, Mask]] = {}
    for (part, variant), (one, other) in zip(pairs, renders, strict=True):
        masks.setdefault(part, {})[variant] = (one != other).any(-1)
    return masks


def label(spec: Spec, masks: dict[str, dict[str, Mask]]) -> list[int]:
    """The answers to `designs.HEADS`, -1 where the picture does not show them."""
    nothing = np.zeros((16, 16), bool)
    has = {part: bool(spec[f"{part}Probability"]) for part in _SOMETIMES}
    paint = {part: masks[part][spec[part][0]] if has.get(part, True) else nothing for part in masks}
    over_hair = ~paint["hat"]
    over_rest = over_hair & ~paint["hair"]
    hair = int((paint["hair"] & over_hair).sum()) + int((paint["beard"] & ~paint["mouth"] & over_rest).sum())

    def shown(part: str, least: float, under: Mask) -> bool:
        return not has.get(part, True) or int((paint[part] & under).sum()) >= least * int(paint[part].sum())

    glasses = shown("glasses", 0.6, over_rest & ~paint["beard"])
    beard = shown("beard", 0.4, over_rest & ~paint["mouth"])
    earrings = shown("accessories", 0.4, over_rest)
    mouth = shown("mouth", 1.0, over_rest)
    clothing = shown("clothing", 0.2, over_rest)
    dark = has["glasses"] and spec["glasses"][0] in designs.DARK_GLASSES
    hat = 1 + list(designs.HAT.values()).index(spec["hatColor"][0]) if has["hat"] else 0
    return [
        int(has["glasses"]) if glasses else -1,
        int(dark) if glasses else -1,
        int(has["hat"]),
        int(has["beard"]) if beard else -1,
        int(has["accessories"]) if earrings else -1,
        int(spec["mouth"][0] in designs.HAPPY_MOUTHS) if mouth else -1,
        int(spec["hair"][0] in designs.LONG_HAIR),
        list(designs.HAIR.values()).index(spec["hairColor"][0]) if hair >= 4 else -1,
        list(designs.SKIN.values()).index(spec["skinColor"][0]),
        list(designs.CLOTHING.values()).index(spec["clothingColor"][0]) if clothing else -1,
        hat,
    ]


# ---- the archive -----------------------------------------------------------------------------------------------------


def make_split(name: str, masks: dict[str, dict[str, Mask]]) -> Split:
    """Draws, renders and labels one split; a function of its seed alone."""
    rng = np.random.default_rng(SEEDS[name])
    specs = [draw_spec(rng) for _ in range(SIZES[name])]
    labels = np.array([label(spec, masks) for spec in specs], np.int8)
    return Split(render(specs), labels)


def load(name: str) -> Split:
    """A split of `zoo/build/avatars.npz`: "train", "judge" or "held-out"."""
    if not ARCHIVE.exists():
        raise FileNotFoundError(f"{ARCHIVE}: not found; make it with `python -m zoo.data`")
    with np.load(ARCHIVE) as archive:
        return Split(archive[f"{name}/images"], archive[f"{name}/labels"])


def main() -> None:
    """Writes all splits, and 256 held-out pictures for the tests, and prints how often each label is seen."""
    masks = part_masks()
    splits = {name: make_split(name, masks) for name in SIZES}
    BUILD.mkdir(exist_ok=True)
    arrays = {
        f"{name}/{field}": getattr(split, field) for name, split in splits.items() for field in ("images", "labels")
    }
    np.savez_compressed(ARCHIVE, **arrays)
    HELD_OUT_SAMPLE.parent.mkdir(parents=True, exist_ok=True)
    few = Split(splits["held-out"].images[:256], splits["held-out"].labels[:256])
    heads = json.dumps([list(head.labels) for head in designs.HEADS])
    np.savez_compressed(HELD_OUT_SAMPLE, images=few.images, labels=few.labels, heads=heads)
    everything = np.concatenate([split.images.reshape(-1, 768) for split in splits.values()])
    print(f"{len(everything)} pictures, {len(np.unique(everything, axis=0))} distinct")
    for column, head in enumerate(designs.HEADS):
        seen = splits["train"].labels[:, column]
        counts = np.bincount(seen[seen >= 0], minlength=max(2, len(head.labels))) / (seen >= 0).sum()
        print(f"{head.name:16s} hidden {np.mean(seen < 0):6.2%}  {np.round(counts, 3).tolist()}")


if __name__ == "__main__":
    main()
