"""Avatars with glasses of every brightness and colourfulness, as a map: an archive instead of one winner."""

import sys

import zmax
from zmax.report import save_archive

FILE = sys.argv[1] if len(sys.argv) > 1 else "diverse-avatars.png"

method = zmax.search.CMAMAE(descriptor="brightness,colourfulness", ranges="0.4:0.9,30:130", cells="12x10", floor=0)
r = zmax.maximize("avatars-gan", "attribute:glasses", method, budget=2000, batch_size=64, seed=0)
a = r.archive
assert a is not None

print(f"{len(r.elites)} of {len(a.score)} kinds ({a.coverage:.0%}), best {a.best:.1f}: {save_archive(r, FILE)}")
assert a.coverage > 0.5
