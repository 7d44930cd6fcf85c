// One parameter: its norms over the run, its histogram at a step, and all that is known of it there.

import * as api from "./api.js";
import { drawStepAxis, line, nearest, placeOf, stepAxis } from "./axis.js";
import { element, fit } from "./canvas.js";
import { drawCurve, drawNotFinite, drawValueAxis, valueAxis } from "./chart.js";
import { called, QUANTITIES } from "./quantities.js";
import { count, power, ticks, words } from "./scale.js";

const [HEIGHT, TOP, BOTTOM, LEFT, RIGHT] = [220, 12, 192, 52, 24];

export class Detail {
  constructor(closed) {
    this.title = element("h2", { id: "detail-title", tabIndex: -1 });
    const close = element("button", { type: "button", className: "close", "aria-label": "Close" }, "×");
    close.addEventListener("click", closed);
    this.history = element("canvas", { id: "history", role: "img" });
    this.historyKeys = element("p", { className: "keys" });
    this.histogram = element("canvas", { id: "histogram", role: "img" });
    this.histogramKeys = element("p", { className: "keys" });
    this.facts = element("dl", { id: "facts" });
    this.text = element("pre", { id: "incident-text" });
    this.charts = element(
      "div",
      { className: "charts" },
      element("figure", {}, this.historyKeys, this.history),
      element("figure", {}, this.histogramKeys, this.histogram),
      this.facts,
    );
    const head = element("header", {}, this.title, close);
    this.root = element("section", { id: "detail", hidden: true, "aria-labelledby": "detail-title" }, head, this.charts, this.text);
  }

  // What was chosen: { run, parameter, size, step }, or { run, incidents }, or null.
  async show(chosen) {
    this.asked = chosen;
    if (!chosen) {
      this.chosen = null;
      return (this.root.hidden = true);
    }
    if (chosen.incidents) {
      this.chosen = chosen;
      const steps = chosen.incidents.map(({ step }) => count(step)).join(", ");
      const several = chosen.incidents.length > 1;
      this.title.textContent = `${several ? "Incidents at steps" : "Incident at step"} ${steps} · ${called(chosen.run)}`;
      this.text.textContent = chosen.incidents.map(({ text }) => text).join("\n\n");
      return this.reveal(true);
    }
    const [curves, bars] = await Promise.all([
      api.history(chosen.run, chosen.parameter),
      api.histogram(chosen.run, chosen.parameter, chosen.step),
    ]);
    if (this.asked !== chosen) return; // something else was chosen meanwhile
    [this.chosen, this.curves, this.bars] = [chosen, curves, bars];
    const size = chosen.size ? ` · ${count(chosen.size)} numbers` : "";
    this.title.textContent = `${chosen.parameter} · step ${count(chosen.step)} · ${called(chosen.run)}${size}`;
    this.reveal(false);
    this.draw(this.theme);
  }

  reveal(incident) {
    [this.root.hidden, this.charts.hidden, this.text.hidden] = [false, incident, !incident];
  }

  draw(theme) {
    this.theme = theme;
    if (!this.chosen || this.chosen.incidents || !this.curves) return;
    this.drawHistory(theme);
    this.drawHistogram(theme);
    this.facts.replaceChildren(...Object.entries(QUANTITIES).flatMap(([name, quantity]) => this.fact(name, quantity)));
  }

  fact(name, { label, title, lacking }) {
    const curve = this.curves[name];
    const at = curve?.steps.length ? nearest(curve.steps, this.chosen.step) : -1;
    const value = at < 0 ? api.NONE : curve.values[at];
    const elsewhere = value !== api.NONE && curve.steps[at] !== this.chosen.step;
    const when = elsewhere ? element("small", {}, ` step ${count(curve.steps[at])}`) : "";
    return [element("dt", { title }, label), element("dd", {}, words(value, curve && lacking), when)];
  }

  drawHistory(theme) {
    const width = this.history.parentElement.clientWidth;
    const context = fit(this.history, width, HEIGHT);
    const [raw, clipped] = [this.curves.grad_norm, this.curves.clipped_grad_norm];
    const steps = stepAxis(raw.steps, LEFT, width - RIGHT);
    const values = valueAxis([raw, clipped], TOP, BOTTOM, positive([raw, clipped]));
    drawValueAxis(context, values, steps, theme);
    drawStepAxis(context, steps, BOTTOM, theme);
    drawNotFinite(context, raw, steps, values);
    const differ = clipped.values.some((value, at) => value !== raw.values[at] && Number.isFinite(value));
    if (differ) drawCurve(context, clipped, steps, values, { colour: theme.second, width: 4 });
    drawCurve(context, raw, steps, values, { colour: theme.first, width: 1.3 }); // on top: where both are one, both show
    context.strokeStyle = theme.ink;
    context.lineWidth = 1;
    const x = Math.round(placeOf(steps, this.chosen.step)) + 0.5;
    line(context, x, TOP, x, BOTTOM);
    this.history.setAttribute("aria-label", `Gradient norm of ${this.chosen.parameter} over the run`);
    const key = (kind, text) => element("span", { className: `key ${kind}` }, text);
    const after = differ ? key("second", "after") : "nothing clipped";
    this.historyKeys.replaceChildren(key("first", "gradient norm before clipping"), after);
  }

  drawHistogram(theme) {
    const width = this.histogram.parentElement.clientWidth;
    const context = fit(this.histogram, width, HEIGHT);
    const { axis, rows, step } = this.bars;
    const { grad_norm: norms } = this.curves;
    const zero = norms.values[nearest(norms.steps, this.chosen.step)] === 0;
    this.histogramKeys.textContent = zero ? "all its numbers are exactly 0 at this step" : this.explained();
    if (zero || !rows.length) return;
    const [low, high] = [rows[0][0], rows[rows.length - 1][1]];
    const density = ([left, right, number]) => number / (axis === "log10" ? right - left : 1); // rows differ in width
    const most = Math.max(...rows.map(density));
    const across = (value) => LEFT + ((value - low) / (high - low)) * (width - LEFT - RIGHT);
    const values = { logs: false, low: 0, high: most * 1.05, top: TOP, bottom: BOTTOM };
    drawValueAxis(context, values, { left: LEFT, right: width - RIGHT }, theme);
    context.fillStyle = theme.first;
    for (const row of rows) {
      const [from, to, size] = [across(row[0]), across(row[1]), (density(row) / values.high) * (BOTTOM - TOP)];
      context.fillRect(from, BOTTOM - size, Math.max(to - from - 0.5, 0.5), size);
    }
    context.fillStyle = theme.faint;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const at of ticks(low, high, Math.floor(width / 80))) {
      if (axis === "log10" && !Number.isInteger(at)) continue;
      context.fillText(axis === "log10" ? power(at) : words(at), across(at), BOTTOM + 6);
    }
    this.histogram.setAttribute("aria-label", `Histogram of ${this.chosen.parameter}'s gradient at step ${step}`);
  }

  explained() {
    const { axis, rows, step } = this.bars;
    if (!rows.length) return "no histogram of this gradient";
    const nearest = step === this.chosen.step ? "" : " (the nearest one)";
    return `gradient before clipping at step ${count(step)}${nearest}: numbers ${axis === "log10" ? "per decade of their size" : "by value"}`;
  }
}

// Norms are drawn as log10 wherever one of them is above 0.
const positive = (curves) => curves.some(({ values }) => values.some((value) => value > 0));
