// What the colours mean.

import { element, fit, hatch } from "./canvas.js";
import { css, logTicks, power } from "./scale.js";

const [WIDTH, HEIGHT, EDGE, TOP] = [320, 14, 26, 18];

export class Legend {
  constructor() {
    this.canvas = element("canvas", { className: "legend-canvas", role: "img" });
    const swatch = (kind, text) => element("span", { className: `swatch ${kind}` }, text);
    this.zero = swatch("zero", "exactly 0");
    this.absent = element("canvas", { className: "absent" });
    this.absentText = element("span", {});
    const absent = element("span", { className: "swatch" }, this.absent, this.absentText);
    const swatches = element("span", { className: "swatches" }, this.zero, swatch("not-finite", "NaN or infinite"), absent);
    this.root = element("div", { id: "legend" }, this.canvas, swatches);
  }

  draw({ label, scale, lacking }, theme) {
    this.zero.hidden = !scale.log;
    this.absentText.textContent = lacking;
    const square = fit(this.absent, 11, 11);
    square.fillStyle = hatch(square, theme);
    square.fillRect(0, 0, 11, 11);
    const context = fit(this.canvas, WIDTH + 2 * EDGE, TOP + HEIGHT + 20);
    for (let x = 0; x < WIDTH; x++) {
      context.fillStyle = css(scale, x / (WIDTH - 1));
      context.fillRect(EDGE + x, TOP, 1.5, HEIGHT);
    }
    if (scale.log) this.drawEnds(context, scale);
    this.drawTicks(context, scale, theme);
    if (scale.usual) this.drawUsual(context, scale, theme);
    this.canvas.setAttribute("aria-label", described(label, scale));
  }

  // Points at the ends: what is beyond them has their colour.
  drawEnds(context, scale) {
    const end = (from, to, share) => {
      context.fillStyle = css(scale, share);
      context.beginPath();
      context.moveTo(from, TOP);
      context.lineTo(to, TOP + HEIGHT / 2);
      context.lineTo(from, TOP + HEIGHT);
      context.fill();
    };
    end(EDGE, EDGE - 8, 0);
    end(EDGE + WIDTH, EDGE + WIDTH + 8, 1);
  }

  drawTicks(context, scale, theme) {
    context.fillStyle = theme.ink;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const { at, text } of ticksOf(scale)) {
      const x = EDGE + share(scale, at) * WIDTH;
      context.fillRect(x - 0.5, TOP + HEIGHT, 1, 4);
      context.fillText(text, x, TOP + HEIGHT + 6);
    }
  }

  // The words above the colours, and a mark in the middle of what is usual.
  drawUsual(context, scale, theme) {
    context.fillStyle = theme.ink;
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    const [from, to] = scale.usual.map((at) => EDGE + share(scale, at) * WIDTH);
    if (from > EDGE) context.fillText("▼ below usual", (EDGE + from) / 2, TOP - 6);
    context.fillText("usual", (from + to) / 2, TOP - 6);
    context.fillText("▲ above", (to + EDGE + WIDTH) / 2, TOP - 6);
    for (const x of [from, to]) if (x > EDGE) context.fillRect(x - 0.5, TOP - 4, 1, HEIGHT + 4);
    if (scale.mark === null) return;
    const x = EDGE + share(scale, scale.mark) * WIDTH;
    context.fillRect(x - 1, TOP, 2, HEIGHT + 4);
  }
}

const share = (scale, at) => (at - scale.low) / (scale.high - scale.low);

function ticksOf(scale) {
  if (scale.log) {
    const own = scale.usual ? [...scale.usual, scale.mark] : [];
    const others = logTicks(scale.low, scale.high, 7).filter(({ at }) => own.every((one) => Math.abs(one - at) > 0.9));
    return [...others, ...own.map((at) => ({ at, text: power(at) }))];
  }
  const places = scale.usual ? [0, 0.25, 0.75, 1].filter((at) => Math.abs(at - scale.usual[1]) > 0.1).concat(scale.usual[1]) : [0, 0.25, 0.5, 0.75, 1];
  return places.map((at) => ({ at, text: `${Math.round(100 * at)} %` }));
}

function described(label, scale) {
  const words = (at) => (scale.log ? power(at) : `${Math.round(100 * at)} %`);
  const ends = `from ${words(scale.low)} to ${words(scale.high)}`;
  if (!scale.usual) return `${label}: colours ${ends}, dark violet to yellow`;
  return `${label}: colours ${ends}; usual, pale, is ${words(scale.usual[0])} to ${words(scale.usual[1])}, below it is blue, above orange`;
}
