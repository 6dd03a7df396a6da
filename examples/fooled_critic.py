"""Climb a discriminator: its score rises on after pictures have stopped getting better, unless something holds it."""

import torch

import zmax

G = zmax.load_generator("avatars-gan")
good = zmax.load_generator("avatars-flow:8")
rng = torch.Generator().manual_seed(0)
with torch.no_grad():
    known = good.decode(good.space.latents(good.space.sample(500, rng))).flatten(1)
nearest = zmax.score(lambda x: -torch.cdist(x.flatten(1), known).min(1).values, name="nearness to known avatars")

OPTIONS = {
    "report": {"guard": "report"},
    "retract": {"guard": "retract"},
    "penalise": {"guard": "penalise"},
    "patience": {"guard": "retract", "patience": 3},
}
runs = {name: zmax.maximize(G, "critic:avatars", "gradient", 640, held_out=nearest, **o) for name, o in OPTIONS.items()}

held = {name: sum(e.held_out for e in r.top(4)) / 4 for name, r in runs.items()}
for name, r in runs.items():
    print(
        f"{name:9} score {r.best.score:4.1f}  held out {held[name]:6.2f}  plausibility {r.best.plausibility:.3f}  "
        f"after {r.ledger.score_calls} calls"
    )
assert runs["report"].best.plausibility < 0.05 < runs["penalise"].best.plausibility
assert held["patience"] > held["retract"], "stopped while the judge was still content"
