"""The squares of weighted retraining: how large an area is found within 500 calls, from squares of at most 400 pixels.

Protocol of Tripp et al. 2020 (https://arxiv.org/abs/2006.09191, section 5.1, and their public code): binary pictures of
64 x 64 pixels with one square of side 1 to 20 whose left edge is in column 32, at every height, ten of each, one in
twenty set aside; a convolutional VAE of two latents and a Bernoulli likelihood, KL weighted by 10; S is the number of
pixels that are at least one half. Their search looks at S on a grid of 2,500 latents after each retraining, uncounted;
here every call counts, those of looks and opening too.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch
from torch import Tensor, nn

import zmax
from benchmarks.pages import fill, markdown
from zmax.core.rng import stream
from zmax.core.tuner import Models
from zmax.finetune import Distil
from zmax.kit.elbo import BERNOULLI, negative_elbo

RESULT = Path(__file__).parent / "results" / "squares.json"
PAGE = Path(__file__).parents[1] / "docs" / "finetune-benchmark.md"
CACHE = Path(gettempdir()) / "zmax-squares"

SIDE, LEFT, LARGEST, COPIES, ASIDE = 64, 32, 20, 10, 20
EPOCHS, BATCH, RATE, BETA = 10, 16, 1e-3, 10.0
BEGUN, WARM, GROWS, EVERY = 1e-6, 1000, 1.1, 10
"""Weight of the KL at first, updates before it grows, and by what factor it does after every so many."""

DARK = -3.4
"""Log-odds of a pixel to be set."""

COLLAPSED = 0.51
"""Nats of a picture above which a VAE has learned hardly more than which pixels are set how often, as a share of those
that this takes (392 of sides up to 20)."""

CALLS, SEEDS = 500, range(5)
SEARCH, ROUNDS, SHARPNESS, UPDATES, ROWS, FRESH = "cma", 4, 3e-5, 64, 16, 4
"""Chosen on VAEs and runs of seeds from 9000 on."""

PUBLISHED = {"weighted retraining, k 1e-3, r 50": (883, 27), "no retraining": (464, 3)}


class SquareVAE(nn.Module):
    """A convolutional VAE as in that paper's code, but of 2 x 2 pixels as channels, for the sake of time.

    Args:
        rng: draws the weights.
        latent: length of z.
    """

    def __init__(self, rng: torch.Generator, latent: int = 2) -> None:
        """Build it."""
        super().__init__()
        down = [(4, 8, 1), (8, 16, 2), (16, 16, 1), (16, 16, 2), (16, 16, 1), (16, 16, 2)]
        up = [(16, 32, 1), (32, 32, 2), (32, 16, 2), (16, 16, 1), (16, 16, 2), (16, 8, 1), (8, 4, 1)]
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        for a, b, stride in down:
            size = 3 if stride == 1 else 5
            layers += [nn.Conv2d(a, b, size, stride, size // 2, device="meta"), nn.ReLU()]
        ends = [nn.Linear(256, 32, device="meta"), nn.ReLU(), nn.Linear(32, 2 * latent, device="meta")]
        self.encoder = nn.Sequential(*layers, nn.Flatten(), *ends)
        layers = [nn.Linear(latent, 32, device="meta"), nn.ReLU(), nn.Linear(32, 256, device="meta"), nn.ReLU()]
        layers += [nn.Unflatten(1, (16, 4, 4))]
        for a, b, stride in up:
            size = 3 if stride == 1 else 5
            layers += [nn.ConvTranspose2d(a, b, size, stride, size // 2, stride - 1, device="meta"), nn.ReLU()]
        self.decoder = nn.Sequential(*layers[:-1], nn.PixelShuffle(2))
        draw(self, rng)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x)."""
        mean, log_deviation = self.encoder(x).chunk(2, 1)
        return mean, 2 * log_deviation

    def forward(self, z: Tensor) -> Tensor:
        """Return the chance of each pixel to be 1."""
        made: Tensor = self.decoder(z).sigmoid()
        return made


def draw(network: nn.Module, rng: torch.Generator) -> None:
    """Draw weights uniformly up to one over the root of the inputs; at first pixels are set as often as in the data."""
    network.to_empty(device="cpu")
    layers = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
    for layer in layers:
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for weight in layer.parameters():
            nn.init.uniform_(weight, -bound, bound, generator=rng)
    assert layers[-1].bias is not None, "of the last layer"
    nn.init.constant_(layers[-1].bias, DARK)


def squares(largest: int = LARGEST) -> tuple[Tensor, Tensor]:
    """Return the training pictures (n, 1, 64, 64) as bytes in random order, and their areas."""
    pictures = []
    for side in range(1, largest + 1):
        for top in range(SIDE - side + 1):
            picture = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
            picture[0, top : top + side, LEFT : LEFT + side] = 1
            pictures += [picture] * COPIES
    order = torch.randperm(len(pictures), generator=stream(0, "squares"))
    x = torch.stack(pictures)[order[len(pictures) // ASIDE :]]
    return x, area(x)


def area(x: Tensor) -> Tensor:
    """Return the number of pixels that are set."""
    return (x >= 0.5).sum((1, 2, 3)).double()


def apart(x: Tensor) -> float:
    """Return the nats that pictures take when it is known of each pixel how often it is set, and no more."""
    share = x.double().mean(0).clamp(1e-9, 1 - 1e-9)
    return float((torch.special.entr(share) + torch.special.entr(1 - share)).sum())


def vae(seed: int, largest: int = LARGEST) -> SquareVAE:
    """Return the VAE trained on the squares, begun anew where it collapsed; a temporary folder keeps it."""
    file = CACHE / f"{seed}-{EPOCHS}{'' if largest == LARGEST else f'-{largest}'}.pt"
    if file.exists():
        network = SquareVAE(stream(seed, "vae"))
        network.load_state_dict(torch.load(file, weights_only=True))
        return network.eval()
    network = next(made for attempt in count() if (made := trained(stream(seed, "vae", attempt), largest)) is not None)
    CACHE.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), file)
    return network.eval()


def trained(rng: torch.Generator, largest: int = LARGEST) -> SquareVAE | None:
    """Train a VAE; None if it tells no pictures apart by the time that the KL begins to weigh."""
    network = SquareVAE(rng)
    made, (x, _) = generator(network), squares(largest)
    network.train()
    most = COLLAPSED * apart(x)
    optimiser, beta, updates, recent = torch.optim.Adam(network.parameters(), lr=RATE), BEGUN, 0, most
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=rng).split(BATCH):
            updates += 1
            beta = min(BETA, beta * GROWS) if updates > WARM and updates % EVERY == 0 else beta
            noise = torch.randn(len(rows), 2, generator=rng)
            loss = negative_elbo(made, x[rows].float(), noise, BERNOULLI, beta).mean() * SIDE * SIDE
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            recent += (float(loss.detach()) - recent) / 50
            if updates == WARM and recent > most:
                return None
    print("VAE:", round(recent), "nats", flush=True)
    return network


def generator(network: SquareVAE) -> zmax.Generator:
    """Return the VAE as a generator with an encoder."""
    return zmax.generator(network, shape=(2,), encoder=network.encode, differentiable=True, modality="image")


class Blunt(Distil):
    """The tuner, spared the fit of a divergence that is not asked for here."""

    def divergence(self, models: Models, rng: torch.Generator) -> tuple[float, float]:
        """Return none."""
        return math.nan, math.nan


@dataclass
class Area:
    """The score, which writes down what it said."""

    said: list[float] = field(default_factory=list)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the areas."""
        found = area(x)
        self.said += found.tolist()
        return found


def retrained(seed: int, network: SquareVAE) -> dict[str, Any]:
    """Finetune by a search of the latents and weighted retraining, in turns."""
    told, began = Area(), time.monotonic()
    tuner = Blunt(
        search=SEARCH,
        every=ROUNDS,
        sharpness=SHARPNESS,
        rows=UPDATES * ROWS,
        likelihood=BERNOULLI,
        beta=BETA,
        data=squares(),
    )
    S = zmax.score(told, differentiable=False, name="area")
    t = zmax.finetune(
        generator(network),
        S,
        tuner,
        budget=CALLS,
        seed=seed,
        rate=RATE,
        updates=UPDATES,
        looks=1,
        fresh=FRESH,
        keep="last",
        progress=False,
    )
    assert t.ledger.score_calls == len(told.said) <= CALLS
    return found(told.said, began) | {"before": t.before.look.score, "after": t.after.look.score}


def searched(seed: int, network: SquareVAE) -> dict[str, Any]:
    """Search the latents of the VAE as it is."""
    told, began = Area(), time.monotonic()
    zmax.maximize(generator(network), zmax.score(told, differentiable=False), "cma", CALLS, seed=seed, progress=False)
    return found(told.said, began)


def found(said: list[float], began: float) -> dict[str, Any]:
    """Return the best area after every hundred calls."""
    best = [max(said[:n]) for n in range(100, CALLS + 1, 100)]
    return {"best": max(said), "way": best, "calls": len(said), "seconds": time.monotonic() - began}


def table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Return means and standard deviations over seeds, as the paper gives them, beside the paper's."""
    cells: list[list[object]] = [["method", "best area", "after 100", "200", "300", "400 calls", "seeds", "minutes"]]
    for name, each in rows.items():
        values = torch.tensor([row["best"] for row in each])
        way = torch.tensor([row["way"] for row in each]).mean(0).tolist()
        spread, minutes = float(values.std()), sum(row["seconds"] for row in each) / len(each) / 60
        cells.append(
            [name, f"{values.mean():.0f} ± {spread:.0f}", *(f"{v:.0f}" for v in way[:4]), len(each), f"{minutes:.1f}"]
        )
    for name, (mean, spread) in PUBLISHED.items():
        cells.append([f"published: {name}", f"{mean} ± {spread}", "", "", "", "", 5, ""])
    return markdown(cells)


def main() -> None:
    """Run, write the figures, and put the table into the docs."""
    torch.set_num_threads(1)
    network = vae(0)
    rows: dict[str, list[dict[str, Any]]] = {"distil": [], "cma, no retraining": []}
    for seed in SEEDS:
        for name, job in (("distil", retrained), ("cma, no retraining", searched)):
            rows[name].append(job(seed, network))
            print(seed, name, rows[name][-1], flush=True)
            RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    fill(PAGE, {"squares": table(rows)})


if __name__ == "__main__":
    main()
