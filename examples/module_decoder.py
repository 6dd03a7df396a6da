"""An nn.Module as G and a differentiable function as S: the best of a random network, by gradient."""

import torch
from torch import nn

import zmax

decoder = nn.Sequential(
    nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 3 * 8 * 8), nn.Sigmoid(), nn.Unflatten(1, (3, 8, 8))
)
rng = torch.Generator().manual_seed(0)
for weights in decoder.parameters():
    nn.init.normal_(weights, std=0.5, generator=rng)

G = zmax.generator(decoder, shape=(32,), modality="image", name="random network")
S = zmax.score(lambda x: x[:, 0].mean((1, 2)) - x[:, 1:].mean((1, 2, 3)), name="redness")
r = zmax.maximize(G, S, budget=600)

drawn = sum(e.score for e in r.reference) / len(r.reference)
print(f"{r.spec.method}: best {r.best.score:.3f}, random draws {drawn:.3f}, plausibility {r.best.plausibility:.2f}")
assert r.spec.method == "gradient"
assert r.best.score > max(e.score for e in r.reference)
