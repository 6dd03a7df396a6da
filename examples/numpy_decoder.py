"""A numpy function as G and another as S, both black boxes: a Lissajous curve that is as long as it can be."""

import numpy as np

import zmax

t = np.linspace(0, 2 * np.pi, 200)


def curve(z: np.ndarray) -> np.ndarray:
    """Two sums of four sines, (n, 200, 2), from uniform amplitudes z (n, 2, 4)."""
    waves = np.sin(np.arange(1, 5)[:, None] * t)
    return np.moveaxis(np.asarray(z) @ waves, 1, 2).astype(np.float32)


def length(x: np.ndarray) -> np.ndarray:
    """Length of each curve."""
    return np.linalg.norm(np.diff(x, axis=1), axis=2).sum(1)


G = zmax.generator(curve, shape=(2, 4), prior="uniform", modality="other")
S = zmax.score(length, numpy=True)
r = zmax.maximize(G, S, budget=600)

print(f"{r.spec.method}: longest curve {r.best.score:.1f}, random draws up to {max(e.score for e in r.reference):.1f}")
assert r.spec.method == "cma"
assert r.best.score > max(e.score for e in r.reference)
