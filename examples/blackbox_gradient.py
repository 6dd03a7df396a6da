"""A score without gradients, climbed by estimated ones: taken at x and pulled back through G, or taken at z.

A surrogate, fitted to all that was scored and climbed through G, needs the fewest calls.

With a file name as argument it also draws the curves: `python examples/blackbox_gradient.py curves.png`.
"""

import sys

import numpy as np

import zmax


def redness(x: np.ndarray) -> np.ndarray:
    """Red over green and blue in the middle of 8-bit pictures; numpy and rounding leave nothing to differentiate."""
    middle = np.round(255 * np.clip(x[:, :, 4:12, 4:12], 0, 1))
    return (middle[:, 0] - np.maximum(middle[:, 1], middle[:, 2])).mean((1, 2))


G = zmax.load_generator("avatars-vae")
S = zmax.score(redness, numpy=True, name="redness")
methods = {"surrogate": "surrogate", "at x": "zeroth", "at z": "spsa"}
runs = {label: zmax.maximize(G, S, method=name, budget=200, seed=1) for label, name in methods.items()}

drawn = max(e.score for e in runs["at z"].reference)
print(f"best of {len(runs['at z'].reference)} random draws: {drawn:.1f}")
for label, run in runs.items():
    print(f"{label:10s} {run.best.score:6.1f} after {run.ledger.score_calls} calls, {run.ledger.decodes} decodes")
assert all(run.best.score > drawn for run in runs.values())
assert runs["surrogate"].best.score > runs["at z"].best.score

if len(sys.argv) > 1:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    curves, *shown = figure.subplots(1, 4, width_ratios=[3, 1, 1, 1])
    for axes, (label, run) in zip(shown, runs.items(), strict=True):
        curves.plot(run.history.score_calls, run.history.best_so_far(), label=label)
        axes.imshow(run.best.sample.clip(0, 1).permute(1, 2, 0))
        axes.set(title=label, xticks=[], yticks=[])
    curves.set(xlabel="score calls", ylabel="best redness so far")
    curves.legend()
    figure.savefig(sys.argv[1], dpi=110)
