"""Codes and words: a mix of shipped avatars chosen by categories, and the words of a text."""

import torch

import zmax
from zmax.core.rng import stream

avatars = zmax.load_generator("avatars-gan:w")
styles = avatars.space.latents(avatars.space.sample(4 * 8, stream(1, "styles"))).unflatten(0, (4, 8))


def mixed(z: torch.Tensor) -> torch.Tensor:
    """One-hot choices (n, 4, 8), one of eight styles for each of four shares, to pictures."""
    return avatars.decode(torch.einsum("nsk,skw->nw", z, styles) / 4)


G = zmax.generator(
    mixed, shape=(4,), prior=zmax.Categorical(8), networks=avatars.networks, modality="image", differentiable=False
)
result = zmax.maximize(G, "attribute:glasses", budget=100, seed=0)
print(f"{result.spec.method}: styles {result.best.z.argmax(1).tolist()} score {result.best.score:.1f}")
print(f"random: {max(entry.score for entry in result.reference):.1f}")

G = zmax.generators.words("a {red|blue|green} {hat|face} with {glasses|a smile|dots}, {big|small}")
S = zmax.score(lambda text: text.count("e") - 0.1 * len(text), per_sample=True, name="many e, few letters")
print(zmax.maximize(G, S, budget=30, seed=0).best.sample)
