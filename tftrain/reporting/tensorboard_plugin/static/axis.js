// The axis of steps: each point has the place between the middles to its neighbours.

import { count, ticks } from "./scale.js";

// From the first to the last of these steps, and of those of `others` that reach further.
export function stepAxis(steps, left, right, others = []) {
  const all = [steps, ...others].filter((one) => one.length);
  const longest = all.reduce((found, one) => (one.length > found.length ? one : found), []);
  const half = longest.length > 1 ? (longest[1] - longest[0]) / 2 : 0.5;
  const low = all.reduce((found, one) => Math.min(found, one[0]), Infinity) - half;
  const high = all.reduce((found, one) => Math.max(found, one[one.length - 1]), -Infinity) + half;
  return { steps, low, high, left, right };
}

export const placeOf = (axis, step) => axis.left + ((step - axis.low) / (axis.high - axis.low)) * (axis.right - axis.left);

export const stepAt = (axis, x) => axis.low + ((x - axis.left) / (axis.right - axis.left)) * (axis.high - axis.low);

// The index of the point nearest to a step.
export function nearest(steps, step) {
  let [low, high] = [0, steps.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low > 0 && step - steps[low - 1] <= steps[low] - step ? low - 1 : low;
}

// Of each of so many columns the first and the last point that it shows: those within it, or else the nearest.
export function columns(axis, width) {
  const found = new Uint32Array(2 * width);
  const share = (axis.right - axis.left) / width;
  let next = 0;
  for (let column = 0; column < width; column++) {
    const end = stepAt(axis, axis.left + (column + 1) * share);
    const first = next;
    while (next < axis.steps.length && axis.steps[next] < end) next++;
    const middle = nearest(axis.steps, stepAt(axis, axis.left + (column + 0.5) * share));
    found.set(next > first ? [Math.min(first, middle), Math.max(next - 1, middle)] : [middle, middle], 2 * column);
  }
  return found;
}

export function drawStepAxis(context, axis, y, theme) {
  context.fillStyle = theme.faint;
  context.strokeStyle = theme.line;
  context.textAlign = "center";
  context.textBaseline = "top";
  const most = Math.max(2, Math.floor((axis.right - axis.left) / 90));
  for (const step of ticks(Math.max(axis.low, 0), axis.high, most)) {
    if (!Number.isInteger(step)) continue;
    const x = Math.round(placeOf(axis, step)) + 0.5;
    line(context, x, y, x, y + 4);
    context.fillText(count(step), x, y + 6);
  }
  context.textAlign = "right";
  context.fillText("step", axis.left - 8, y + 6);
}

export function line(context, fromX, fromY, toX, toY) {
  context.beginPath();
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
  context.stroke();
}
