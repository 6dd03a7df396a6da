"""Invert a given picture: find latents whose decode is nearest in pixels and in a network's features."""

import tempfile

import torch
from PIL import Image

import zmax

G = zmax.load_generator("avatars-vae")
u = G.space.sample(1, torch.Generator().manual_seed(5))
picture = G.decode(G.space.latents(u))[0].detach()

with tempfile.NamedTemporaryFile(suffix=".png") as file:
    Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(file.name)
    S = zmax.load_score(f"target:{file.name} + 0.01*perceptual:{file.name}")

r = zmax.maximize(G, S, method="lbfgs", budget=1000, seed=0)
error = (r.best.sample - picture).square().mean().item()
drawn = min((e.sample - picture).square().mean().item() for e in r.reference)
print(f"mean squared error {error:.1e}, best of 16 draws {drawn:.1e}; features {list(r.best.parts.values())[1]:.3f}")
assert error < drawn / 5
