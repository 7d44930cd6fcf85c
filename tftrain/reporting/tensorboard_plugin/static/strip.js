// Above the map, on the same axis of steps: the loss, how many steps were clipped, and the incidents.

import { line, placeOf } from "./axis.js";
import { element, fit } from "./canvas.js";
import { drawCurve, drawNotFinite, drawShares, drawValueAxis, valueAxis } from "./chart.js";

const [TOP, BELOW] = [16, 10]; // pixels above and below the curves
const APART = 26; // pixels between two marks

export class Strip {
  constructor(label, told) {
    this.canvas = element("canvas", { className: "strip-canvas", role: "img", "aria-label": label });
    this.marks = element("div", { className: "marks" });
    this.hair = element("div", { className: "hair", hidden: true });
    this.legend = element("p", { className: "keys" });
    this.root = element("div", { className: "strip" }, this.legend, this.canvas, this.marks, this.hair);
    this.told = told;
  }

  draw(course, axis, { width, height, theme }) {
    [this.axis, this.bottom] = [axis, height - BELOW];
    const context = fit(this.canvas, width, height);
    this.marks.style.bottom = `${height - TOP}px`;
    const losses = [course.loss, course.val_loss].filter((curve) => curve.steps.length);
    const values = valueAxis(losses, TOP, this.bottom);
    drawShares(context, course.clip_rate, axis, values, theme.second);
    drawValueAxis(context, values, axis, theme);
    if (course.clip_rate.steps.length) this.drawPercent(context, theme);
    drawCurve(context, course.loss, axis, values, { colour: theme.first });
    drawCurve(context, course.val_loss, axis, values, { colour: theme.third, dash: [5, 3] });
    for (const curve of losses) drawNotFinite(context, curve, axis, values);
    const skipped = course.nonfinite_steps;
    drawNotFinite(context, { steps: skipped.steps, values: skipped.values.map((count) => (count > 0 ? NaN : 0)) }, axis, values);
    this.drawKeys(course);
    this.drawMarks(course.incidents);
  }

  drawPercent(context, theme) {
    context.textAlign = "left";
    context.fillStyle = theme.faint;
    context.fillText("100 %", this.axis.right + 6, TOP);
    context.fillText("0 %", this.axis.right + 6, this.bottom);
    context.strokeStyle = theme.line;
    line(context, this.axis.right + 0.5, TOP, this.axis.right + 0.5, this.bottom);
  }

  drawKeys(course) {
    const clipped = course.clip_rate.values;
    const share = stepShare(course.clip_rate);
    const lines = [["first", "loss"]];
    if (course.val_loss.steps.length) lines.push(["third", "validation loss"]);
    lines.push(clipped.length ? ["second", `steps clipped (${Math.round(100 * share)} % of all)`] : ["", "no clipping"]);
    if (course.incidents.length) lines.push(["alarm", course.incidents.length > 1 ? "incidents" : "incident"]);
    this.legend.replaceChildren(...lines.map(([kind, text]) => element("span", { className: `key ${kind}` }, text)));
  }

  // A mark for each incident, or for those that would lie one on the other; marks that are there stay, with the focus.
  drawMarks(incidents) {
    const place = ({ step }) => Math.min(Math.max(placeOf(this.axis, step), this.axis.left), this.axis.right);
    const groups = [];
    for (const one of incidents) {
      const last = groups[groups.length - 1];
      if (last && place(one) - last.place < APART) last.incidents.push(one);
      else groups.push({ place: place(one), incidents: [one] });
    }
    groups.forEach((group, at) => {
      const mark = this.marks.children[at] ?? this.marks.appendChild(element("button", { className: "incident", type: "button" }));
      const [first, ...others] = group.incidents;
      const title = first.text.split("\n")[0] + (others.length ? ` (and ${others.length} more)` : "");
      Object.assign(mark, { title, onclick: () => this.told.incident(group.incidents) });
      mark.setAttribute("aria-label", `Incident at step ${first.step}: ${title}`);
      mark.style.left = `${group.place}px`;
    });
    while (this.marks.children.length > groups.length) this.marks.lastChild.remove();
  }

  // A hair line at a step, or none.
  point(step) {
    this.hair.hidden = step === null;
    if (step !== null) this.hair.style.transform = `translateX(${placeOf(this.axis, step)}px)`;
  }
}

// A share of all steps, from the shares of the steps since the point before.
export function stepShare({ steps, values }) {
  let [sum, all] = [0, 0];
  steps.forEach((step, at) => {
    const since = step - (at ? steps[at - 1] : 0);
    if (!Number.isFinite(values[at])) return;
    sum += values[at] * since;
    all += since;
  });
  return all ? sum / all : 0;
}
