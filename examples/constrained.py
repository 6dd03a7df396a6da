"""Glasses on dark pictures alone: a constraint beside the score, and a mix of styles whose weights have bounds."""

import torch

import zmax

G = zmax.load_generator("avatars-gan")
S, brightness = zmax.load_score("attribute:glasses"), zmax.load_score("brightness")

free = zmax.maximize(G, S, budget=480, seed=0)
dark = zmax.maximize(G, S.where(brightness <= 0.4), budget=480, seed=0)
shown = float(brightness(free.best.sample[None]))
print(f"free      score {free.best.score:5.2f}  brightness {shown:.2f}")
print(f"<= 0.40   score {dark.best.score:5.2f}  brightness {dark.best.parts['brightness']:.2f}  ({dark.meeting})")

styled = zmax.load_generator("avatars-gan:w")
styles = styled.space.latents(styled.space.sample(6, torch.Generator().manual_seed(1)))
mix = zmax.generator(
    lambda w: styled.decode(w @ styles), shape=(6,), prior=zmax.Simplex(6), networks=styled.networks, modality="image"
)
best = zmax.maximize(mix, S, "cma", budget=480, seed=0).best
print("best mix of six styles:", [round(w, 2) for w in best.z.tolist()], f"score {best.score:.2f}")

assert dark.best.feasible
assert dark.best.parts["brightness"] <= 0.4
assert abs(float(best.z.sum()) - 1) < 1e-5
