// From numbers to colours and places, and back to words.

import { NONE } from "./api.js";

// Viridis (van der Walt and Smith, 2015): even steps look even, also to the colour-blind, and in grey.
const VIRIDIS = [
  "440154", "48186a", "472d7b", "424086", "3b528b", "33638d", "2c728e", "26828e", "21918c",
  "1f9f88", "27ad81", "3dbc74", "5cc863", "81d34d", "aadc32", "d5e21a", "fde725",
].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
const SHADES = 1024;
export const ZERO = "#000000";
export const NOT_FINITE = "#ff00ff";
const BLACK = pack([0, 0, 0]);
const MAGENTA = pack([255, 0, 255]);
const TABLE = Uint32Array.from({ length: SHADES }, (_, index) => pack(viridis(index / (SHADES - 1))));

function pack([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function viridis(share) {
  const place = share * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS[below].map((from, at) => Math.round(from + (place - below) * (VIRIDIS[below + 1][at] - from)));
}

export const css = (share) => `rgb(${viridis(share).join(" ")})`;

const CUT = 0.01; // the share of a run's numbers at either end that has the colour of the end
const [FURTHER_DOWN, FURTHER_UP] = [6, 3]; // decades by which runs may stretch the scale of at least as many others,
const [LEAST, MOST] = [-10, 4]; // or up to these

// One scale for these runs, of which each is the rows that are shown. Runs that explode do not make all others look
// alike: what is too far from the middle one of them has the colour of the end.
export function colourScale(runs, share) {
  if (share) return { share, low: 0, high: 1, beyond: [false, false] };
  const sorted = runs.map(logarithms).filter((logs) => logs.length);
  if (!sorted.length) return { share, low: -1, high: 0, beyond: [false, false], nothing: true };
  const cut = (logs) => Math.floor(logs.length * CUT);
  const lows = sorted.map((logs) => logs[cut(logs)]).sort((one, other) => one - other);
  const highs = sorted.map((logs) => logs[logs.length - 1 - cut(logs)]).sort((one, other) => other - one);
  const middle = Math.floor(sorted.length / 2);
  const low = Math.max(lows[0], Math.min(lows[middle] - FURTHER_DOWN, LEAST));
  const high = Math.min(highs[0], Math.max(highs[middle] + FURTHER_UP, MOST));
  const lacking = Math.max(0, 1 - (high - low)) / 2; // a decade at least
  const ends = { low: low - lacking, high: high + lacking };
  const beyond = [sorted.some((logs) => logs[0] < ends.low), sorted.some((logs) => logs[logs.length - 1] > ends.high)];
  return { share, ...ends, beyond };
}

function logarithms(rows) {
  const found = new Float64Array(rows.reduce((sum, row) => sum + row.length, 0));
  let size = 0;
  for (const row of rows) for (const value of row) if (value > 0 && value < Infinity) found[size++] = Math.log10(value);
  return found.subarray(0, size).sort();
}

// The colour as a number for ImageData; 0, transparent, where there is none.
export function colour(scale, value) {
  if (value === NONE) return 0;
  if (!Number.isFinite(value)) return MAGENTA;
  if (!scale.share && value === 0) return BLACK;
  const place = ((scale.share ? value : Math.log10(value)) - scale.low) / (scale.high - scale.low);
  return TABLE[Math.round(Math.min(Math.max(place, 0), 1) * (SHADES - 1))];
}

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

export function words(value, lacking = "not measured") {
  if (value === NONE) return lacking;
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return "infinite";
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
