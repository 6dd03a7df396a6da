// Renders avatars: one JSON object of single-valued DiceBear options a line on stdin, 16x16x3 bytes a picture on stdout.
//
// Nothing here is random: every option arrives as a list of one value and every probability as 0 or 100, so a picture
// is a function of its line alone. DiceBear masks a beard by the luminance of its own colour, which makes dark beards
// vanish; a white mask gives every beard the 90 % opacity it was drawn with. The designs are drawn on a 16-pixel grid, so a 16-pixel render loses nothing.
import { createInterface } from "node:readline";
import { createAvatar } from "@dicebear/core";
import * as pixelArt from "@dicebear/pixel-art";
import { Resvg } from "@resvg/resvg-js";

const SIZE = 16;

function render(options) {
  const svg = createAvatar(pixelArt, { seed: "zmax", size: SIZE, ...options })
    .toString()
    .replace(/<mask .*?<\/mask>/g, (mask) => mask.replace(/fill="[^"]*"/, 'fill="#fff"'));
  const rgba = new Resvg(svg, { font: { loadSystemFonts: false } }).render().pixels;
  const rgb = Buffer.alloc(SIZE * SIZE * 3);
  for (let pixel = 0; pixel < SIZE * SIZE; pixel++) {
    rgba.copy(rgb, 3 * pixel, 4 * pixel, 4 * pixel + 3);
  }
  return rgb;
}

for await (const line of createInterface({ input: process.stdin })) {
  const picture = render(JSON.parse(line));
  if (!process.stdout.write(picture)) {
    await new Promise((resume) => process.stdout.once("drain", resume));
  }
}
