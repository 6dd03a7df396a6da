"""A judge that answers in words, with marks from 1 to 5: what it says is kept beside its marks."""

import zmax

HUES = ("red", "green", "blue")


def judge(picture) -> str:
    """Answer as a language model would that was asked for a warm picture; put yours here."""
    red, green, blue = picture.mean((1, 2)).tolist()
    strongest = max(zip((red, green, blue), HUES, strict=True))[1]
    mark = min(5, max(1, round(3 + 20 * (red - blue))))
    return f"The strongest colour is {strongest}, red exceeds blue by {red - blue:.2f}. Score: {mark}/5"


S = zmax.score(judge, per_sample=True, parse="score", name="warmth")
r = zmax.maximize("avatars-gan", S, "snes", budget=300, seed=0)
for entry in r.top(3):
    print(f"{entry.score:g}, plausibility {entry.plausibility:.2f}: {entry.why}")
print(f"{sum(r.history.score == r.best.score)} samples share the best mark; the most plausible of them leads")
