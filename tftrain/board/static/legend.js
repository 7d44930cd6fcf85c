// What the colours mean.

import { element, fit } from "./canvas.js";
import { brief, css, logTicks } from "./scale.js";

const [WIDTH, HEIGHT, EDGE] = [260, 12, 26];

export class Legend {
  constructor() {
    this.title = element("span", { className: "legend-title" });
    this.canvas = element("canvas", { className: "legend-canvas", role: "img" });
    const swatch = (kind, text) => element("span", { className: `swatch ${kind}` }, text);
    this.zero = swatch("zero", "exactly 0");
    this.absent = swatch("absent", "");
    const others = [this.zero, swatch("not-finite", "NaN or infinite"), this.absent];
    const swatches = element("span", { className: "swatches" }, ...others);
    this.root = element("div", { id: "legend" }, this.title, this.canvas, swatches);
  }

  // `scale` is null where each run has its own.
  draw(scale, { title, share, lacking }, theme) {
    this.title.textContent = title;
    this.zero.hidden = Boolean(share);
    this.absent.textContent = lacking;
    const context = fit(this.canvas, WIDTH + 2 * EDGE, HEIGHT + 20);
    for (let x = 0; x < WIDTH; x++) {
      context.fillStyle = css(x / (WIDTH - 1));
      context.fillRect(EDGE + x, 1, 1.5, HEIGHT);
    }
    context.fillStyle = context.strokeStyle = theme.ink;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const { at, text } of places(scale)) {
      const x = EDGE + at * WIDTH;
      context.fillRect(x - 0.5, HEIGHT + 1, 1, 3);
      context.fillText(text, x, HEIGHT + 6);
    }
    if (scale) this.drawEnds(context, scale);
    this.canvas.setAttribute("aria-label", `Colours from ${reach(scale)[0]}, dark violet, to ${reach(scale)[1]}, yellow`);
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

// What the ends of a scale stand for.
export function reach(scale) {
  if (!scale) return ["each run's least", "its largest"];
  return [scale.low, scale.high].map((end) => (scale.share ? `${100 * end} %` : brief(10 ** end)));
}

// Where the legend has words, as a share of its width.
function places(scale) {
  if (!scale) return [{ at: 0.12, text: "least" }, { at: 0.88, text: "largest" }];
  if (scale.nothing) return [];
  if (scale.share) return [0, 0.25, 0.5, 0.75, 1].map((at) => ({ at, text: `${100 * at} %` }));
  return logTicks(scale.low, scale.high, 6).map(({ at, text }) => ({ at: (at - scale.low) / (scale.high - scale.low), text }));
}
