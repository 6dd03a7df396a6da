"""Climb a discriminator: its score rises on after pictures have stopped getting better, unless something holds it."""

import torch

import zmax

G = zmax.load_generator("avatars-gan")
good = zmax.load_generator("avatars-flow:8")
rng = torch.Generator().manual_seed(0)
known = good.decode(good.space.latents(good.space.sample(1000, rng))).detach().flatten(1)
nearest = zmax.score(lambda x: -torch.cdist(x.flatten(1), known).min(1).values, name="nearness to known avatars")

runs = {}
for name, options in {
    "report": {"guard": "report"},
    "retract": {"guard": "retract"},
    "penalise": {"guard": "penalise"},
    "patience": {"guard": "report", "patience": 3},
}.items():
    r = runs[name] = zmax.maximize(G, "critic:avatars", "gradient", 1200, held_out=nearest, **options)
    held = sum(e.held_out for e in r.top(4)) / 4
    print(
        f"{name:9} score {r.best.score:6.1f}  held out {held:6.2f}  plausibility {r.best.plausibility:.3f}  "
        f"after {r.ledger.score_calls} calls"
    )

free, penalised = runs["report"], runs["penalise"]
assert free.best.score > penalised.best.score, "what is free to leave the prior scores higher"
assert free.best.plausibility < 0.05 < penalised.best.plausibility, "and is less plausible"
