// Which layers stand outside of what is usual, counted for each quantity.

import { NONE } from "./api.js";
import { power, SIGNS, standing } from "./scale.js";
import { QUANTITIES } from "./quantities.js";

const VANISHED = -3; // decades between the first hidden layer and the last (AUTOTRAINER, 2021)

const SIZES = ["update_ratio", "grad_norm", "weight_norm"]; // of which each is told where it is not finite

// What to tell: { quantity, sign, text, step }. `latest` holds of each quantity { step, values [layers] }, and `ratio` is the
// curve of the depth ratio, in decades.
export function findings(latest, ratio) {
  const found = [];
  for (const [quantity, { step, values }] of Object.entries(latest)) {
    const { label, scale } = QUANTITIES[quantity];
    const known = values.filter((value) => value !== NONE);
    const tell = (sign, mark, number) => {
      const layers = `${number} of ${known.length} ${known.length === 1 ? "layer" : "layers"}`;
      if (number) found.push({ quantity, sign, step, text: `${mark}: ${layers}` });
    };
    if (SIZES.includes(quantity)) tell("broken", `✕ ${label} not finite`, known.filter((value) => !Number.isFinite(value)).length);
    for (const sign of ["below", "above"]) {
      tell(sign, `${SIGNS[sign]}${label}`, known.filter((value) => standing(scale, value) === sign).length);
    }
  }
  const last = ratio.values.length - 1;
  if (ratio.values[last] < VANISHED) {
    const text = `${SIGNS.below}Gradient: first layer ${power(Math.round(ratio.values[last]))} of the last`;
    found.push({ quantity: "grad_norm", sign: "below", step: ratio.steps[last], text });
  }
  return found;
}
