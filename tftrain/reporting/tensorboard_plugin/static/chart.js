// Curves over steps in a box; points that are not finite are marks, those that are 0 on a log axis sit at the bottom.

import { columns, line, placeOf } from "./axis.js";
import { logTicks, named, NONE, NOT_FINITE, ticks } from "./scale.js";

// A vertical axis for the values of curves, as log10 where that shows more.
export function valueAxis(curves, top, bottom, log = null) {
  const values = curves.flatMap(({ values }) => [...values].filter((value) => Number.isFinite(value) && value !== NONE));
  const above = values.filter((value) => value > 0);
  const [least, most] = [above.reduce((a, b) => Math.min(a, b), Infinity), above.reduce((a, b) => Math.max(a, b), 0)];
  const logs = log ?? (above.length > 0 && above.length === values.length && most / least > 20);
  let low = logs ? Math.log10(least) : values.reduce((a, b) => Math.min(a, b), Infinity);
  let high = logs ? Math.log10(most) : values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!Number.isFinite(low) || !Number.isFinite(high)) [low, high] = [0, 1];
  if (!logs && low === 0 && high === 0) high = 1;
  const space = (high - low) * 0.06 || Math.abs(high) * 0.1 || 0.5;
  return { logs, low: !logs && low >= 0 ? Math.max(low - space, 0) : low - space, high: high + space, top, bottom };
}

export function heightOf({ logs, low, high, top, bottom }, value) {
  const share = ((logs ? Math.log10(value) : value) - low) / (high - low);
  return bottom - Math.min(Math.max(share, 0), 1) * (bottom - top);
}

export function drawValueAxis(context, axis, { left, right }, theme) {
  const most = Math.max(2, Math.floor((axis.bottom - axis.top) / 26));
  const plainTicks = (count) => named(ticks(axis.low, axis.high, count));
  let found = axis.logs ? logTicks(axis.low, axis.high, most) : plainTicks(most);
  if (found.length < 2) found = plainTicks(2 * most).length > 1 && !axis.logs ? plainTicks(2 * most) : found;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.lineWidth = 1;
  for (const { at, text } of found) {
    const y = Math.round(heightOf({ ...axis, logs: false }, at)) + 0.5;
    context.strokeStyle = theme.line;
    line(context, left, y, right, y);
    context.fillStyle = theme.faint;
    context.fillText(text, left - 6, y);
  }
}

// What is usual of a quantity, behind its curve, and the middle of it where there is one.
export function drawBand(context, { log, usual, mark }, axis, { left, right }, theme) {
  if (log !== axis.logs) return;
  const height = (at) => heightOf({ ...axis, logs: false }, at);
  const [bottom, top] = usual.map(height);
  context.fillStyle = theme.usual;
  context.fillRect(left, top, right - left, bottom - top);
  if (mark === null || mark < axis.low || mark > axis.high) return;
  context.strokeStyle = theme.faint;
  context.setLineDash([2, 3]);
  line(context, left, height(mark), right, height(mark));
  context.setLineDash([]);
}

export function drawCurve(context, curve, steps, axis, { colour, dash = [], width = 1.6 }) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.beginPath();
  let drawn = 0;
  curve.steps.forEach((step, at) => {
    const value = curve.values[at];
    const broken = value === NONE || !Number.isFinite(value);
    if (broken) return (drawn = 0);
    const [x, y] = [placeOf(steps, step), heightOf(axis, axis.logs ? Math.max(value, 1e-300) : value)];
    if (drawn++) context.lineTo(x, y);
    else {
      context.moveTo(x, y);
      context.lineTo(x + 0.01, y); // a single point is a dot
    }
  });
  context.lineCap = "round";
  if (curve.steps.length === 1) context.lineWidth = 5;
  context.stroke();
  context.setLineDash([]);
}

// A line across the box at each step whose value is not finite.
export function drawNotFinite(context, curve, steps, { top, bottom }) {
  context.strokeStyle = NOT_FINITE;
  context.lineWidth = 1.5;
  curve.steps.forEach((step, at) => {
    if (Number.isFinite(curve.values[at])) return;
    const x = placeOf(steps, step);
    line(context, x, top, x, bottom);
  });
}

// A share over the steps, from the bottom; the mean of the points that fall on one pixel.
export function drawShares(context, curve, steps, { top, bottom }, colour) {
  if (!curve.steps.length) return;
  const width = Math.max(1, Math.round(steps.right - steps.left));
  const shows = columns({ ...steps, steps: curve.steps }, width);
  context.fillStyle = colour;
  context.globalAlpha = 0.4;
  for (let column = 0; column < width; column++) {
    const points = curve.values.subarray(shows[2 * column], shows[2 * column + 1] + 1);
    const height = (points.reduce((sum, one) => sum + one, 0) / points.length) * (bottom - top);
    if (height > 0) context.fillRect(steps.left + column, bottom - height, 1, height);
  }
  context.globalAlpha = 1;
}
