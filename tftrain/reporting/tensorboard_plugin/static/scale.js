// From numbers to colours and places, and back to words.

// Stands for a missing value: all quantities are at least 0, or NaN.
export const NONE = -1;

// Viridis (van der Walt and Smith, 2015): even steps look even, also to the colour-blind, and in grey.
const VIRIDIS = ramp(
  "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1f9f88 27ad81 3dbc74 5cc863 81d34d aadc32 d5e21a fde725",
);
// Where there is something usual it is pale, what is below is blue and what is above orange, darker the further it is off.
const BELOW = ramp("8cc0e8 5aa2d8 2f7ebc 0f5ba6 0b3f80");
const USUAL = ramp("cfe8d8 dbecd0 e8edc6");
const ABOVE = ramp("fdb46c fd8d3c e6550d a63603 6b2003");
const SHADES = 1024;
export const NOT_FINITE = "#ff00ff";
const BLACK = pack([0, 0, 0]);
const MAGENTA = pack([255, 0, 255]);

function ramp(colours) {
  return colours.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
}

function pack([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function between(colours, share) {
  const place = Math.min(Math.max(share, 0), 1) * (colours.length - 1);
  const below = Math.min(Math.floor(place), colours.length - 2);
  return colours[below].map((from, at) => Math.round(from + (place - below) * (colours[below + 1][at] - from)));
}

// A scale that is the same whatever is shown. `low` and `high` are what its ends stand for, `usual` the two ends of what
// is usual and `mark` the middle of it, where there is such a thing; `log` makes it logarithmic.
export function colourScale({ log = false, low, high, usual = null, mark = null }) {
  const at = (value) => (log ? Math.log10(value) : value);
  const scale = { log, low: at(low), high: at(high), usual: usual && usual.map(at), mark: mark && at(mark) };
  scale.shades = Array.from({ length: SHADES }, (_, index) => shade(scale, index / (SHADES - 1)));
  scale.table = Uint32Array.from(scale.shades, pack);
  return scale;
}

function shade({ low, high, usual }, share) {
  if (!usual) return between(VIRIDIS, share);
  const at = low + share * (high - low);
  if (at < usual[0]) return between(BELOW, (usual[0] - at) / (usual[0] - low));
  if (at > usual[1]) return between(ABOVE, (at - usual[1]) / (high - usual[1]));
  return between(USUAL, (at - usual[0]) / (usual[1] - usual[0]));
}

const shadeAt = (share) => Math.round(Math.min(Math.max(share, 0), 1) * (SHADES - 1));
const locate = ({ log }, value) => (log ? Math.log10(value) : value);

export const css = (scale, share) => `rgb(${scale.shades[shadeAt(share)].join(" ")})`;

// Where a number lies between the ends of a scale, from 0 to 1, or beyond them.
export const shareOf = (scale, value) => (locate(scale, value) - scale.low) / (scale.high - scale.low);

// The colour as a number for ImageData; 0, transparent, where there is none.
export function colour(scale, value) {
  if (value === NONE) return 0;
  if (!Number.isFinite(value)) return MAGENTA;
  if (scale.log && value === 0) return BLACK;
  return scale.table[shadeAt(shareOf(scale, value))];
}

// How far a number is from what is usual, as a share of the scale: above 0 outside of it. Without anything usual the largest
// is the furthest; what is not finite is further than any other.
export function distance(scale, value) {
  if (value === NONE) return -Infinity;
  if (!Number.isFinite(value)) return Infinity;
  const at = locate(scale, value);
  const off = scale.usual ? Math.max(scale.usual[0] - at, at - scale.usual[1]) : at - scale.low;
  return Math.max(off / (scale.high - scale.low), -1e9); // log10 of 0, where nothing is usual
}

// "below", "usual" or "above"; "" where nothing is usual, or nothing known.
export function standing(scale, value) {
  if (!scale.usual || value === NONE || !Number.isFinite(value)) return "";
  const at = locate(scale, value);
  return at < scale.usual[0] ? "below" : at > scale.usual[1] ? "above" : "usual";
}

export const SIGNS = { below: "▼ ", above: "▲ ", usual: "", "": "" };

// Round numbers between two, at most so many.
export function ticks(low, high, most) {
  const rough = (high - low) / Math.max(most, 1);
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((by) => by * unit).find((one) => one >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at++) found.push(at * step + 0);
  return found;
}

// Whole decades between two logarithms, at most so many.
export function decades(low, high, most) {
  const step = Math.max(1, Math.ceil((high - low) / most));
  const even = Math.ceil(low / step - 1e-9) * step;
  const start = even + step <= high + 1e-9 ? even : Math.ceil(low - 1e-9); // rather uneven ones than a single one
  const found = [];
  for (let at = start; at <= high + 1e-9; at += step) found.push(at);
  return found;
}

// Where one would look on a logarithmic axis: at decades, or where there are fewer than two, at numbers between.
export function logTicks(low, high, most) {
  const whole = decades(low, high, most);
  if (whole.length > 1) return whole.map((at) => ({ at, text: power(at) }));
  const finer = [];
  for (let decade = Math.floor(low); decade <= high; decade++) {
    for (const by of most > 3 ? [1, 2, 5] : [1, 3]) finer.push(decade + Math.log10(by));
  }
  return finer.filter((at) => at >= low && at <= high).map((at) => ({ at, text: brief(10 ** at) }));
}

export function power(exponent) {
  return "10" + [...String(exponent)].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
}

export function words(value, { lacking = "not measured", percent = false } = {}) {
  if (value === NONE) return lacking;
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return "infinite";
  if (percent) return `${brief(100 * value)} %`;
  if (value === 0) return "exactly 0";
  return brief(value);
}

// Numbers in as few digits as tell where they stand, three at least.
export function named(values) {
  const slack = 0.01 * (Math.max(...values) - Math.min(...values));
  for (let digits = 3; ; digits++) {
    const found = values.map((at) => ({ at, text: brief(at, digits) }));
    if (digits > 8 || found.every(({ at, text }) => Math.abs(Number(text) - at) <= slack)) return found;
  }
}

export function brief(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(digits - 1).replace(/\.?0*e\+?/, "e");
  return String(Number(value.toPrecision(digits)));
}

export const count = (value) => Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
