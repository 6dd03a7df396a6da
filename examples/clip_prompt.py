"""Text to picture: optimise a generator's latents against CLIP, with cutouts.

python examples/clip_prompt.py FOLDER "a prompt"     with a CLIP you have saved; without, a tiny random one
"""

import sys
import tempfile

import zmax
from zmax.scores.clip import Clip

G = zmax.load_generator("avatars-gan")
with tempfile.TemporaryDirectory() as nowhere:
    folder = sys.argv[1] if len(sys.argv) > 1 else zmax.testing.tiny_clip(nowhere)
    prompt = sys.argv[2] if len(sys.argv) > 2 else "a face"
    S = Clip(prompt, folder=folder, cutouts=8)

r = zmax.maximize(G, S, method="gradient", budget=400, seed=0, params={"step": 0.1})
drawn = max(e.score for e in r.reference)
print(f"{S.name}: cosine {r.best.score:.3f}, best of 16 draws {drawn:.3f}, plausibility {r.best.plausibility:.2f}")
assert r.best.score > drawn
