// What the colours mean.

import { element, fit } from "./canvas.js";
import { brief, css, decades, power } from "./scale.js";

const [WIDTH, HEIGHT, EDGE] = [260, 12, 26];

export class Legend {
  constructor() {
    this.title = element("span", { className: "legend-title" });
    this.canvas = element("canvas", { className: "legend-canvas", role: "img" });
    const swatch = (kind, text) => element("span", { className: `swatch ${kind}` }, text);
    this.zero = swatch("zero", "exactly 0");
    const others = [this.zero, swatch("not-finite", "NaN or infinite"), swatch("absent", "not measured")];
    const swatches = element("span", { className: "swatches" }, ...others);
    this.root = element("div", { id: "legend" }, this.title, this.canvas, swatches);
  }

  draw(scale, title, theme) {
    this.title.textContent = title;
    this.zero.hidden = Boolean(scale.share);
    const context = fit(this.canvas, WIDTH + 2 * EDGE, HEIGHT + 20);
    for (let x = 0; x < WIDTH; x++) {
      context.fillStyle = css(x / (WIDTH - 1));
      context.fillRect(EDGE + x, 1, 1.5, HEIGHT);
    }
    const span = scale.high - scale.low;
    const places = scale.share ? [0, 0.25, 0.5, 0.75, 1] : decades(scale.low, scale.high, 6);
    context.fillStyle = context.strokeStyle = theme.ink;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const at of places) {
      const x = EDGE + ((at - scale.low) / span) * WIDTH;
      context.fillRect(x - 0.5, HEIGHT + 1, 1, 3);
      context.fillText(scale.share ? `${100 * at} %` : power(at), x, HEIGHT + 6);
    }
    this.drawEnds(context, scale);
    const [low, high] = [scale.low, scale.high].map((end) => (scale.share ? end : brief(10 ** end)));
    this.canvas.setAttribute("aria-label", `Colours from ${low}, dark violet, to ${high}, yellow`);
  }

  // Points at the ends that hold more than their place on the scale.
  drawEnds(context, { beyond }) {
    const end = (from, to, share) => {
      context.fillStyle = css(share);
      context.beginPath();
      context.moveTo(from, 1);
      context.lineTo(to, 1 + HEIGHT / 2);
      context.lineTo(from, 1 + HEIGHT);
      context.fill();
    };
    if (beyond[0]) end(EDGE, EDGE - 8, 0);
    if (beyond[1]) end(EDGE + WIDTH, EDGE + WIDTH + 8, 1);
  }
}
