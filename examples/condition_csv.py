"""Your own VAE, a folder of pictures and a CSV of scores: train G(x | score), then ask for the score you want."""

import csv
from pathlib import Path

import torch
from PIL import Image
from torch import nn

import zmax

# Yours would be there: a folder of pictures (here discs of 8 x 8 pixels), their scores, and a trained VAE.
rng, at, n = torch.Generator().manual_seed(0), torch.linspace(-1, 1, 8), 600
shift, size = torch.randn(2, n, 1, 1, generator=rng), torch.rand(n, 1, 1, generator=rng)
far = ((at[:, None] - 0.2 * shift[0]).square() + (at - 0.2 * shift[1]).square()).sqrt()
x = torch.sigmoid(8 * (0.2 + 0.8 * size - far))[:, None]
Path("pictures").mkdir(exist_ok=True)
with open("pictures/scores.csv", "w", newline="") as file:
    csv.writer(file).writerows([["file", "area"], *((f"{i}.png", float(x[i].mean())) for i in range(n))])
for i in range(n):
    Image.fromarray((255 * x[i, 0]).byte().numpy()).save(f"pictures/{i}.png")
encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 12))
decoder = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
weights = [*encoder.parameters(), *decoder.parameters()]
for weight in weights:
    nn.init.normal_(weight, std=0.15, generator=rng)
optimiser = torch.optim.Adam(weights, 3e-3)
for _ in range(300):
    mean, log = encoder(x).chunk(2, 1)
    code = mean + (log / 2).exp() * torch.randn(mean.shape, generator=rng)
    divergence = (mean.square() + log.exp() - log - 1).sum(1) / 2
    loss = (20 * (decoder(code) - x).square().sum((1, 2, 3)) + divergence).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

G = zmax.generator(decoder, shape=(6,), modality="image", differentiable=True, name="my VAE")
S = zmax.score(lambda x: x.mean((1, 2, 3)), name="area", differentiable=False)  # to see what comes
c = zmax.condition(G, S, data="pictures", budget=300, params={"steps": 300}, looks=1)
print(f"Label Score {c.calibration.label_score:.2f}, to trust {c.calibration.trusted}")
for wanted in (0.15, 0.3, 0.45):
    came = c.sample(16, score=wanted).mean((1, 2, 3))
    print(f"asked for {wanted}: {float(came.mean()):.3f} +- {float(came.std()):.3f}")
    assert abs(float(came.mean()) - wanted) < 0.05
