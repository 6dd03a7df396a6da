"""Your own VAE and a CSV of scores: learn which codes have which score, then ask for the score you want."""

import csv

import torch
from torch import nn

import zmax


def picture(n: int, rng: torch.Generator) -> torch.Tensor:
    """Discs of 8 x 8 pixels, of any size, somewhere; yours would be pictures on a disk."""
    at, shift = torch.linspace(-1, 1, 8), torch.randn(2, n, 1, 1, generator=rng)
    far = ((at[:, None] - 0.2 * shift[0]).square() + (at - 0.2 * shift[1]).square()).sqrt()
    return torch.sigmoid(8 * (0.2 + 0.8 * torch.rand(n, 1, 1, generator=rng) - far))


rng = torch.Generator().manual_seed(0)
x = picture(1000, rng)
with open("scores.csv", "w", newline="") as file:
    csv.writer(file).writerows([["picture", "area"], *enumerate(x.mean((1, 2)).tolist())])

encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 12))
decoder = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.Sigmoid(), nn.Unflatten(1, (8, 8)))
for weight in [*encoder.parameters(), *decoder.parameters()]:
    nn.init.normal_(weight, std=0.15, generator=rng)
optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 3e-3)
for _ in range(400):  # yours would be trained
    mean, log = encoder(x).chunk(2, 1)
    z = mean + (log / 2).exp() * torch.randn(mean.shape, generator=rng)
    divergence = (mean**2 + log.exp() - log - 1).sum(1) / 2
    loss = (20 * (decoder(z) - x).square().sum((1, 2)) + divergence).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
decoder.requires_grad_(False)

with open("scores.csv", newline="") as file:
    area = torch.tensor([float(row["area"]) for row in csv.DictReader(file)])
S = zmax.score(lambda z: decoder(z).mean((1, 2)), name="area", differentiable=False)  # only to see what comes
c = zmax.condition(None, S, data=(encoder(x).detach()[:, :6], area), budget=300, params={"steps": 600}, looks=1)
print(c.calibration.label_score, c.calibration.trusted)
for wanted in (0.15, 0.3, 0.45):
    pictures = decoder(c.sample(32, score=wanted))
    print(f"asked for {wanted}: {float(pictures.mean()):.3f}")
    assert abs(float(pictures.mean()) - wanted) < 0.06
