"""PULSE: search a generator for a face that, shrunk to 4 by 4 pixels, looks like the one given."""

import tempfile

import torch
from PIL import Image

import zmax

G = zmax.load_generator("avatars-gan")
u = G.space.sample(1, torch.Generator().manual_seed(11))
original = G.decode(G.space.latents(u))[0].detach()
small = torch.nn.functional.avg_pool2d(original[None], 4)[0]

with tempfile.NamedTemporaryFile(suffix=".png") as file:
    Image.fromarray((small * 255).round().byte().permute(1, 2, 0).numpy()).save(file.name)
    S = zmax.load_score(f"lowres:{file.name}")

r = zmax.maximize(G, S, method="sphere", budget=1000, seed=0)
drawn = max(e.score for e in r.reference)
apart = (r.best.sample - original).square().mean().item()
print(f"error at 4x4: {-r.best.score:.1e} (best of 16 draws: {-drawn:.1e}); at 16x16 from the original: {apart:.3f}")
assert r.best.score > drawn / 5, "a twentieth of a random match's error is usual"
