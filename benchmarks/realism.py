"""What realism catches, what it lets pass, and what a guard by it costs; winners, attacks and finetuned children.

`python -m benchmarks.realism` writes `results/realism.json`, the tables of `docs/realism.md` and its picture, in about
ten minutes on one quiet core; with names of parts (winners, attacks, children, guard) it runs those and keeps the
rest. Seeds from 77 to 199 served to choose levels and statistic.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

import zmax
from benchmarks.pages import fill, interval, markdown
from zmax.core.rng import stream
from zmax.natural.calibration import two_sided

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "realism.json", HERE.parent / "docs" / "realism.md"

ATTRIBUTES = ("attribute:glasses", "attribute:hat", "attribute:beard")
SCORES = (*ATTRIBUTES, "min(attribute:glasses, attribute:hat)")
SEEDS, CHAINS, LEVEL = 5, 4, 0.05
POOL = {"avatars-flow:10": 600, "avatars-gan": 3000, "avatars-vae": 3000}
TOP = 0.05
ATTACK, PGD_STEPS = 0.02, 20
UPDATES, BATCH, RATE = 60, 8, 5e-4
NFE, GUARDED = 400, ("attribute:glasses", "attribute:beard")

Row = dict[str, Any]


def generators() -> dict[str, Any]:
    """Return the generators as the methods use them: the flow with fresh noise on its path."""
    made: dict[str, Any] = {name: zmax.load_generator(name) for name in POOL}
    return {name: g.stochastic() if isinstance(g, zmax.DiffusionGenerator) else g for name, g in made.items()}


def drawn(generator: Any, n: int, seed: int) -> Tensor:
    points = generator.space.sample(n, stream(seed, "benchmark"))
    with torch.no_grad():
        return torch.cat([generator.decode(generator.space.latents(part)) for part in points.split(100)])


def climbed(name: str, generator: Any, score: str, seed: int) -> list[Any]:
    """Return the winners of 20 steps of `dno`, or 120 of `gradient`: the four best that are no random samples."""
    flow = name.startswith("avatars-flow")
    steps, kind = (20, zmax.guide.DNO) if flow else (120, zmax.search.Gradient)
    calls = CHAINS * steps
    result = zmax.maximize(generator, score, kind(batch=CHAINS), calls + calls // 19, seed)
    known = {e.id for e in result.reference}
    return [e for e in result.leaders if e.id not in known][:CHAINS]


def flagged(p: Tensor) -> float:
    return float((p < LEVEL).double().mean())


def winners() -> list[Row]:
    """Return for each generator and score the share flagged among best-of-N's and the method's winners."""
    rows = []
    for name, generator in generators().items():
        natural = zmax.realism(generator)
        pool = drawn(generator, POOL[name], 1)
        usual = natural.of(pool[: POOL["avatars-flow:10"]])
        for score in SCORES:
            s = zmax.load_score(score)
            with torch.no_grad():
                best = s(pool).topk(int(TOP * len(pool)))
            found = [e for seed in range(SEEDS) for e in climbed(name, generator, score, seed)]
            z = natural.z(torch.stack([e.sample for e in found])).detach()
            theirs = natural.z(pool[best.indices]).detach()
            row = {"generator": name, "score": score, "prior": flagged(usual)}
            row |= {"best_of_n": flagged(two_sided(theirs)), "best_of_n_score": float(best.values.mean())}
            row["caught_at_5"] = float((z > theirs.quantile(0.95)).double().mean())
            row |= {"winners": [e.score for e in found], "z": z.tolist(), "caught": flagged(two_sided(z))}
            row |= {"plausible": mean(e.plausibility >= LEVEL for e in found)}
            rows.append(row)
            say(row)
    return rows


def attacks() -> list[Row]:
    """Return the share flagged after an attack on pixels by +-0.02, and of harmless samples."""
    rows = []
    s = zmax.load_score("attribute:glasses")
    for name in POOL:
        generator: Any = zmax.load_generator(name)
        natural, x = zmax.realism(generator), drawn(generator, 64, 2)
        row = {"generator": name, "other seeds": flagged(natural.of(drawn(generator, 200, 3)))}
        rows.append(row | {"attacked": flagged(natural.of(attacked(s, x)))})
        say(rows[-1])
    flow = generators()["avatars-flow:10"]
    natural = zmax.realism(flow)
    kept = [
        e.sample
        for score in ATTRIBUTES
        for seed in range(SEEDS)
        for e in zmax.maximize(flow, score, "fk", zmax.Budget(nfe=400), seed).leaders[:CHAINS]
    ]
    rows.append({"generator": "avatars-flow:10", "fk": flagged(natural.of(torch.stack(kept))), "n": len(kept)})
    say(rows[-1])
    return rows


def attacked(score: Any, x: Tensor) -> Tensor:
    """Return pictures whose pixels were moved by at most 0.02 to raise the score."""
    shift = torch.zeros_like(x)
    for _ in range(PGD_STEPS):
        point = (x + shift).clamp(0, 1).requires_grad_()
        (slope,) = torch.autograd.grad(score(point).sum(), point)
        shift = (shift + ATTACK / 5 * slope.sign()).clamp(-ATTACK, ATTACK)
    return (x + shift).clamp(0, 1)


def children() -> list[Row]:
    """Return the share flagged, by the parent's measure, of the samples of plainly finetuned children."""
    rows = []
    s, judge = zmax.load_score("attribute:glasses"), zmax.load_score("attribute-judge:glasses")
    for name in ("avatars-flow:10,truncated:2", "avatars-gan"):
        parent: Any = zmax.load_generator(name)
        natural = zmax.realism(parent)
        child = finetuned(parent, s)
        x = drawn(child, 200, 4)
        with torch.no_grad():
            yes = float((judge(x) > 0).double().mean())
            before = float((judge(drawn(parent, 200, 4)) > 0).double().mean())
        row = {"generator": name, "judge_before": before, "judge": yes, "score": float(s(x).mean())}
        rows.append(row | {"caught": flagged(natural.of(x)), "z": natural.z(x)[:8].tolist()})
        say(rows[-1])
    return rows


def finetuned(parent: Any, score: Any) -> Any:
    """Return a copy whose weights climbed the score of its samples, with nothing that holds them back."""
    child = copy.deepcopy(parent)
    weights = [w.requires_grad_() for network in child.networks for w in network.parameters()]
    optimiser = torch.optim.Adam(weights, RATE)
    for update in range(UPDATES):
        u = child.space.sample(BATCH, stream(0, "child", update))
        loss = -score(child.decode(child.space.latents(u))).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
    for w in weights:
        w.requires_grad_(False)
    return child


def guard() -> list[Row]:
    """Return score, judge and realism of the leaders of `dno` with and without the guard, and of best-of-N."""
    generator = generators()["avatars-flow:10"]
    natural = zmax.realism(generator)
    rows = []
    for score in GUARDED:
        judge = score.replace("attribute", "attribute-judge")
        for method, held in (("random", "retract"), ("dno", "retract"), ("dno", "natural")):
            row: Row = {"score": score, "method": method, "guard": held, "best": [], "judge": [], "realism": []}
            for seed in range(SEEDS):
                r = zmax.maximize(
                    generator, score, method, zmax.Budget(nfe=NFE), seed, held_out=judge, guard=held, keep=4
                )
                p = natural.of(torch.stack([e.sample for e in r.leaders]))
                row["best"].append(r.best.score)
                row["judge"].append(r.best.held_out)
                row["realism"].append(p.tolist())
            rows.append(row)
            say(row)
    return rows


def say(row: Row) -> None:
    shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items() if k not in ("winners", "z")}
    print(f"{time.process_time():6.0f}s {shown}", flush=True)


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Return the tables of the page."""
    winners = [
        [
            "generator",
            "score",
            "best-of-N: score",
            "flagged",
            "winners: score",
            "plausible",
            "caught",
            "at 5 %",
            "caught above",
        ]
    ]
    for r in found["winners"]:
        ours = [
            f"{mean(r['winners']):.1f}",
            f"{r['plausible']:.0%}",
            f"{r['caught']:.0%}",
            f"{r['caught_at_5']:.0%}",
            above(r),
        ]
        theirs = [f"{r['best_of_n_score']:.1f}", f"{r['best_of_n']:.0%}"]
        winners.append([r["generator"], f"`{r['score']}`", *theirs, *ours])
    *plain, fk = found["attacks"]
    attacks = [["generator", "fresh samples flagged", "attacked by ±0.02, caught"]]
    attacks += [[r["generator"], f"{r['other seeds']:.0%}", f"{r['attacked']:.0%}"] for r in plain]
    children = [["child of", "judge says glasses: parent", "child", "child's samples flagged"]]
    for r in found["children"]:
        shares = [f"{r[key]:.0%}" for key in ("judge_before", "judge", "caught")]
        children.append([r["generator"].split(",")[0], *shares])
    guard = [["score", "method", "guard", "best", "judge of the best", "leaders with realism ≥ 0.05"]]
    for r in found["guard"]:
        share = mean(v >= LEVEL for run in r["realism"] for v in run)
        figures = [interval(r["best"], 1), interval(r["judge"], 1), f"{share:.0%}"]
        guard.append([f"`{r['score']}`", f"`{r['method']}`", r["guard"], *figures])
    beside = f"\n\nOf {fk['n']} winners of `fk`, {fk['fk']:.0%} are flagged."
    made = {"winners": winners, "attacks": attacks, "children": children, "guard": guard}
    return {name: markdown(cells) + (beside if name == "attacks" else "") for name, cells in made.items()}


def above(row: Row) -> str:
    """Return how many are caught of the winners that score higher than best-of-N's samples on average."""
    z = torch.tensor([z for z, score in zip(row["z"], row["winners"], strict=True) if score > row["best_of_n_score"]])
    return f"{int((two_sided(z) < LEVEL).sum())} of {len(z)}"


PARTS = {"winners": winners, "attacks": attacks, "children": children, "guard": guard}


def main(names: list[str]) -> None:
    """Run the parts, keep the others' results, and fill the page."""
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in names or PARTS:
        found[name] = PARTS[name]()
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
    if set(PARTS) <= set(found):
        fill(PAGE, tables(found))


if __name__ == "__main__":
    main(sys.argv[1:])
