// Which layers stand outside of what is usual, counted for each quantity.

import { NONE } from "./api.js";
import { power, standing } from "./scale.js";
import { QUANTITIES } from "./quantities.js";

const VANISHED = -3; // decades between the first hidden layer and the last (AUTOTRAINER, 2021)

// `latest` holds of each quantity a number for each layer, `ratio` is the curve of the depth ratio, in decades.
export function findings(latest, ratio) {
  const found = [];
  for (const [quantity, values] of Object.entries(latest.values)) {
    const { label, scale } = QUANTITIES[quantity] ?? {};
    const known = values.filter((value) => value !== NONE);
    const layers = (number) => `${number} of ${known.length} ${known.length === 1 ? "layer" : "layers"}`;
    const broken = known.filter((value) => !Number.isFinite(value)).length;
    if (broken) found.push({ quantity, sign: "broken", text: `${label} not finite: ${layers(broken)}` });
    if (!scale?.usual) continue;
    for (const [sign, mark] of [["below", "▼"], ["above", "▲"]]) {
      const number = known.filter((value) => standing(scale, value) === sign).length;
      if (number) found.push({ quantity, sign, text: `${mark} ${label}: ${layers(number)}` });
    }
  }
  const decades = ratio.values[ratio.values.length - 1];
  if (decades < VANISHED) {
    const text = `▼ Gradient: first layer ${power(Math.round(decades))} of the last`;
    found.push({ quantity: "grad_norm", sign: "below", text });
  }
  return found;
}
