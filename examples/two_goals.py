"""Two goals at once: avatars with glasses that are dark, and what the one costs of the other."""

import zmax

G = zmax.load_generator("avatars-gan")
result = zmax.maximize(G, ["attribute:glasses", "1 - brightness"], budget=240, seed=0)
print(result.front_in_words)
for entry in result.front:
    print(f"glasses {entry.parts['attribute:glasses']:5.2f}   darkness {entry.parts['1 - brightness']:.3f}")
