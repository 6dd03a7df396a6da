"""Your own GAN as G and your own function as S: its weights move until all samples score high."""

import torch
from torch import nn

import zmax

gan = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 3 * 8 * 8), nn.Sigmoid(), nn.Unflatten(1, (3, 8, 8)))
rng = torch.Generator().manual_seed(0)
for weights in gan.parameters():
    nn.init.normal_(weights, std=0.3, generator=rng)  # yours would be trained

G = zmax.generator(gan, shape=(16,), modality="image", name="my GAN")
S = zmax.score(lambda x: x[:, 0].mean((1, 2)) - x[:, 1:].mean((1, 2, 3)), name="redness", differentiable=True)
t = zmax.finetune(G, S, zmax.finetune.Direct(temperature=0.01), budget=800, rate=1e-2, looks=2)

before, after = t.before, t.after
print(f"lowest twentieth {before.quantile(0.05):.3f} -> {after.quantile(0.05):.3f}, KL {after.look.kl:.1f}")
x = t.generator.decode(t.generator.space.sample(4, rng))  # a Generator for every other verb
assert after.quantile(0.05) > before.quantile(0.5)
assert after.look.distance > 0.7 * before.look.distance
