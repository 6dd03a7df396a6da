"""A decoder that returns strings, and a score on strings: the motif that binds best, by evolution."""

from torch import Tensor

import zmax

LETTERS = "ACGT"
MOTIF = "GATTACAGATTACA"


def spell(z: Tensor) -> list[str]:
    """Latents (n, 14, 4) to n words: at each place the letter whose latent is largest."""
    return ["".join(LETTERS[i] for i in row) for row in z.argmax(2).tolist()]


def matches(word: str) -> float:
    """Letters that agree with the motif."""
    return float(sum(a == b for a, b in zip(word, MOTIF, strict=True)))


G = zmax.generator(spell, shape=(len(MOTIF), len(LETTERS)), modality="text")
S = zmax.score(matches, per_sample=True, name="matches")
r = zmax.maximize(G, S, budget=1000)

print(f"{r.spec.method}: {r.best.sample} scores {r.best.score:.0f} of {len(MOTIF)}; random: {r.reference[0].sample}")
assert r.best.score >= 11
