// Which layers stand outside of what is usual, counted for each quantity.

import { brief, NONE, power, SIGNS, standing } from "./scale.js";
import { QUANTITIES } from "./quantities.js";

const VANISHED = -3; // decades between the first hidden layer and the last (AUTOTRAINER, 2021)
const FALLEN = 0.1; // of the largest learning rate: then small updates are what the schedule wants
const SIZES = ["update_ratio", "grad_norm", "weight_norm"]; // of which each is told where it is not finite

// What to tell: { quantity, sign, text, step }. Of api.course's answer `latest` holds of each quantity { step, values [layers] },
// `depth_ratio` is the curve of the depth ratio, in decades, and `learning_rate` that of the rate.
export function findings({ latest, depth_ratio: ratio, learning_rate: rate }) {
  const found = [];
  const fallen = lastOf(rate) / rate.values.reduce((most, value) => Math.max(most, value), 0);
  for (const [quantity, { step, values }] of Object.entries(latest)) {
    const { label, scale, outputMay } = QUANTITIES[quantity];
    const judged = outputMay ? values.slice(0, -1) : values;
    const known = judged.filter((value) => value !== NONE);
    const tell = (sign, mark, number, why = "") => {
      const layers = `${number} of ${known.length} ${known.length === 1 ? "layer" : "layers"}`;
      if (number) found.push({ quantity, sign: why ? "explained" : sign, step, text: `${mark}: ${layers}${why}` });
    };
    if (SIZES.includes(quantity)) tell("broken", `✕ ${label} not finite`, known.filter((value) => !Number.isFinite(value)).length);
    for (const sign of ["below", "above"]) {
      const explained = quantity === "update_ratio" && sign === "below" && fallen < FALLEN;
      const why = explained ? `, as the learning rate is ${brief(fallen, 2)} of its largest` : "";
      tell(sign, `${SIGNS[sign]}${label}`, known.filter((value) => standing(scale, value) === sign).length, why);
    }
  }
  if (lastOf(ratio) < VANISHED) {
    const text = `${SIGNS.below}Gradient: first layer ${power(Math.round(lastOf(ratio)))} of the last`;
    found.push({ quantity: "grad_norm", sign: "below", step: ratio.steps[ratio.steps.length - 1], text });
  }
  return found;
}

const lastOf = ({ values }) => values[values.length - 1];
