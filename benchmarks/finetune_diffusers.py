"""Every tiny pipeline of diffusers finetuned by low rank: the score rises, diffusers alone loads what moved.

`python -m benchmarks.finetune_diffusers` writes `results/finetune_diffusers.json` and the table of
`docs/finetune-benchmark.md`, in half an hour on one core; with names of kinds and tuners it runs those and keeps the
rest. The weights of these pipelines are random: what is shown is that gradients, low rank, samplers and files fit
together, not pictures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

import zmax
from benchmarks.pages import fill, interval, markdown
from zmax.testing.tiny_diffusers import KINDS, tiny_pipeline

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "finetune_diffusers.json", HERE.parent / "docs" / "finetune-benchmark.md"
TUNERS = ("direct", "ranked", "nft")
STEPS, CALLS = 3, 300


def redness(x: torch.Tensor) -> torch.Tensor:
    """Return how much redder than green a picture is."""
    return (x[:, 0] - x[:, 1]).mean((1, 2))


def pipeline(kind: str) -> tuple[Any, zmax.Generator]:
    """Return a tiny pipeline, and the generator of it."""
    pipe = tiny_pipeline(kind)
    return pipe, generator(kind, pipe)


def generator(kind: str, pipe: Any) -> zmax.Generator:
    """Return the generator of a pipeline; PixArt's bins know no size as small as these."""
    given: dict[str, Any] = {} if kind == "ddpm" else {"prompt": "a red hat"}
    given |= {"use_resolution_binning": False, "clean_caption": False} if kind == "pixart" else {}
    return zmax.generators.from_diffusers(pipe, num_inference_steps=1 if kind == "turbo" else STEPS, **given)


def run(kind: str, tuner: str, seed: int) -> dict[str, Any]:
    """Finetune once, and compare the child's pictures with those of diffusers alone."""
    pipe, G = pipeline(kind)
    network = G.networks[0]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    S = zmax.score(redness, differentiable=True)
    t = zmax.finetune(
        G, S, tuner, budget=CALLS, weights="lora:4", seed=seed, progress=False, keep="last", looks=2, rate=3e-3
    )
    same = all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    row = {"pipeline": kind, "tuner": tuner, "seed": seed, "parent unchanged": same, "alone": None}
    row |= {"before": t.before.look.score, "after": t.after.look.score, "distance": t.after.look.distance}
    if hasattr(pipe, "load_lora_weights"):
        row["alone"] = alone(kind, t)
    return row


def alone(kind: str, t: zmax.TuneResult) -> float:
    """Return how far the pictures of a pipeline that loaded the low-rank weights by itself are from the child's."""
    pipe, _ = pipeline(kind)
    with tempfile.TemporaryDirectory() as folder:
        t.save_lora(folder)
        pipe.load_lora_weights(folder)
    again = generator(kind, pipe)
    z = again.space.latents(again.space.sample(4, torch.Generator().manual_seed(0)))
    with torch.no_grad():
        return float((again.decode(z) - t.generator.decode(z)).abs().max())


def main() -> None:
    """Run all of them, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetune_diffusers")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--tuners", nargs="+", default=list(TUNERS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = json.loads(RESULT.read_text()) if RESULT.exists() else []
    for kind in options.kinds:
        for tuner in options.tuners:
            rows = [r for r in rows if (r["pipeline"], r["tuner"]) != (kind, tuner)]
            for seed in range(options.seeds):
                try:
                    rows.append(run(kind, tuner, seed))
                except zmax.ZmaxError as error:
                    rows.append({"pipeline": kind, "tuner": tuner, "seed": seed, "refused": str(error)})
                print(rows[-1], flush=True)
            RESULT.write_text(json.dumps(rows, indent=1) + "\n")
            table(rows)


def table(rows: list[dict[str, Any]]) -> None:
    """Write the table of all that was run."""
    cells: list[list[object]] = [["pipeline", "tuner", "rise of the mean score", "seeds that rise", "diffusers alone"]]
    for kind in KINDS:
        for tuner in TUNERS:
            these = [r for r in rows if (r["pipeline"], r["tuner"]) == (kind, tuner)]
            done = [r for r in these if "refused" not in r]
            if these and not done:
                cells.append([kind, tuner, f"refused: {these[0]['refused'].splitlines()[0]}", "", ""])
            if not done:
                continue
            rises = [r["after"] - r["before"] for r in done]
            known = [r["alone"] for r in done if r["alone"] is not None]
            apart = f"differs by {max(known):.0e}" if known else "no such loader"
            cells.append([kind, tuner, interval(rises, 4), f"{sum(r > 0 for r in rises)} of {len(rises)}", apart])
    fill(PAGE, {"diffusers": markdown(cells)})


if __name__ == "__main__":
    main()
