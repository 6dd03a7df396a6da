"""Change a given picture as little as needed: begin at its code, and search near it."""

import torch

import zmax

G = zmax.load_generator("avatars-vae")
S = zmax.load_score("attribute:glasses")
u = G.space.sample(1, torch.Generator().manual_seed(4))
picture = G.decode(G.space.latents(u))[0].detach()

near = zmax.maximize(G, S, "cma", budget=200, start=picture, strength=0.2)
anywhere = zmax.maximize(G, S, "cma", budget=200)
changed = [float((r.best.sample - picture).square().mean()) for r in (near, anywhere)]
print(f"began at {near.began_at}: score {near.began_with:.1f}")
print(
    f"near it {near.best.score:.1f}, changed by {changed[0]:.3f}; anywhere {anywhere.best.score:.1f}, {changed[1]:.3f}"
)
assert near.best.score > near.began_with
assert changed[0] < changed[1]

pairs = near.history.to_pandas()  # what was paid for once is not paid for again
longer = zmax.maximize(G, S, "turbo", budget=100, start=pairs)
print(f"{len(pairs)} known pairs and 100 calls: {longer.best.score:.1f}")
assert longer.best.score >= near.best.score
