// Beside the maps: the histogram of a cell's gradient, the course of its quantity over the run, and all that is known of it.

import * as api from "./api.js";
import { drawStepAxis, line, nearest, placeOf, stepAxis } from "./axis.js";
import { element, fit } from "./canvas.js";
import { drawBand, drawCurve, drawNotFinite, drawValueAxis, valueAxis } from "./chart.js";
import { called, QUANTITIES } from "./quantities.js";
import { count, power, SIGNS, standing, ticks, words } from "./scale.js";

const [HEIGHT, TOP, BOTTOM, LEFT, RIGHT] = [150, 8, 126, 52, 16];
const NORMS = ["grad_norm", "clipped_grad_norm"];

export class Detail {
  // `closed` is called when it is to be closed.
  constructor(closed) {
    this.title = element("h2", { id: "detail-title", tabIndex: -1 });
    const close = element("button", { type: "button", className: "close", "aria-label": "Close" }, "×");
    close.addEventListener("click", closed);
    this.where = element("p", { className: "where" });
    this.parameters = element("div", { className: "switch", id: "parameters" });
    this.histogram = element("canvas", { id: "histogram", role: "img" });
    this.histogramKeys = element("p", { className: "keys" });
    this.history = element("canvas", { id: "history", role: "img" });
    this.historyKeys = element("p", { className: "keys" });
    this.facts = element("dl", { id: "facts" });
    this.text = element("pre", { id: "incident-text" });
    this.charts = element(
      "div",
      {},
      this.parameters,
      element("figure", {}, this.histogramKeys, this.histogram),
      element("figure", {}, this.historyKeys, this.history),
      this.facts,
    );
    const head = element("header", {}, this.title, close);
    this.root = element("aside", { id: "detail", hidden: true, "aria-labelledby": "detail-title" }, head, this.where, this.charts, this.text);
  }

  // What was chosen: a cell { run, row, rows, parameters, step }, or { run, incidents }, or null.
  async show(chosen, quantity = this.quantity) {
    this.asked = chosen;
    this.quantity = quantity;
    if (!chosen) {
      this.chosen = null;
      return (this.root.hidden = true);
    }
    if (chosen.incidents) return this.showIncidents(chosen);
    chosen.parameter ??= chosen.parameters[0].name;
    const [curves, bars] = await Promise.all([
      api.history(chosen.run, chosen.row, chosen.rows),
      api.histogram(chosen.run, chosen.parameter, chosen.step),
    ]);
    if (this.asked !== chosen) return; // something else was chosen meanwhile
    [this.chosen, this.curves, this.bars] = [chosen, curves, bars];
    this.title.textContent = chosen.row;
    const size = chosen.parameters.reduce((sum, one) => sum + (one.size ?? 0), 0);
    const sized = size ? ` · ${count(size)} numbers` : "";
    this.where.textContent = `${called(chosen.run)} · step ${count(chosen.step)}${sized}`;
    this.listParameters();
    this.reveal(false);
    this.draw(this.theme);
  }

  showIncidents(chosen) {
    this.chosen = chosen;
    const steps = chosen.incidents.map(({ step }) => count(step)).join(", ");
    this.title.textContent = `${chosen.incidents.length > 1 ? "Incidents at steps" : "Incident at step"} ${steps}`;
    this.where.textContent = called(chosen.run);
    this.text.textContent = chosen.incidents.map(({ text }) => text).join("\n\n");
    this.reveal(true);
  }

  reveal(incident) {
    [this.root.hidden, this.charts.hidden, this.text.hidden] = [false, incident, !incident];
  }

  // The parameters of a layer, of which each has a histogram.
  listParameters() {
    const { chosen } = this;
    this.parameters.hidden = chosen.parameters.length < 2;
    const made = chosen.parameters.map(({ name }) => {
      const input = element("input", { type: "radio", name: "parameter", value: name, checked: name === chosen.parameter });
      input.addEventListener("change", () => this.turnTo(name));
      return element("label", {}, input, element("span", {}, name.slice(name.lastIndexOf("/") + 1)));
    });
    const shown = [...this.parameters.querySelectorAll("input")].map(({ value }) => value).join();
    if (shown !== chosen.parameters.map(({ name }) => name).join()) this.parameters.replaceChildren(...made);
    for (const input of this.parameters.querySelectorAll("input")) input.checked = input.value === chosen.parameter;
  }

  async turnTo(parameter) {
    const { chosen } = this;
    chosen.parameter = parameter;
    const bars = await api.histogram(chosen.run, parameter, chosen.step);
    if (this.chosen !== chosen || chosen.parameter !== parameter) return;
    this.bars = bars;
    this.draw(this.theme);
  }

  draw(theme) {
    this.theme = theme;
    if (!this.chosen || this.chosen.incidents || !this.curves || this.root.hidden) return;
    this.drawHistogram(theme);
    this.drawHistory(theme);
    this.facts.replaceChildren(...Object.entries(QUANTITIES).flatMap(([name, quantity]) => this.fact(name, quantity)));
  }

  fact(name, { label, meaning, lacking, scale }) {
    const curve = this.curves[name];
    const at = curve.steps.length ? nearest(curve.steps, this.chosen.step) : -1;
    const value = at < 0 ? api.NONE : curve.values[at];
    const elsewhere = value !== api.NONE && curve.steps[at] !== this.chosen.step;
    const when = elsewhere ? element("small", {}, ` at step ${count(curve.steps[at])}`) : "";
    const sign = standing(scale, value);
    const beside = sign === "below" || sign === "above" ? element("span", { className: `finding ${sign}` }, `${SIGNS[sign]}${sign} usual`) : "";
    return [element("dt", { title: meaning }, label), element("dd", {}, words(value, { lacking, percent: !scale.log }), when, beside)];
  }

  // The quantity that the maps show, over the run; the norm of a gradient before and after clipping.
  drawHistory(theme) {
    const width = this.history.parentElement.clientWidth;
    const context = fit(this.history, width, HEIGHT);
    const { label, scale, lacking } = QUANTITIES[this.quantity];
    const [raw, clipped] = NORMS.map((name) => this.curves[name]);
    const isNorm = NORMS.includes(this.quantity);
    const differ = isNorm && clipped.values.some((value, at) => value !== raw.values[at] && Number.isFinite(value));
    const curve = isNorm ? raw : this.curves[this.quantity];
    const shown = differ ? [raw, clipped] : [curve];
    this.history.hidden = curve.values.every((value) => value === api.NONE);
    if (this.history.hidden) return this.historyKeys.replaceChildren(`${label}: ${lacking}`);
    const steps = stepAxis(curve.steps.length ? curve.steps : raw.steps, LEFT, width - RIGHT);
    const positive = shown.some(({ values }) => values.some((value) => value > 0));
    const values = valueAxis(shown, TOP, BOTTOM, scale.log ? positive : false);
    if (scale.usual && values.logs === scale.log) widen(values, scale.usual);
    if (values.logs && shown.some((one) => one.values.includes(0))) values.low -= 0.15 * (values.high - values.low); // zeros lie there
    if (scale.usual) drawBand(context, scale, values, steps, theme);
    drawValueAxis(context, values, steps, theme);
    drawStepAxis(context, steps, BOTTOM, theme);
    drawNotFinite(context, curve, steps, values);
    if (differ) drawCurve(context, clipped, steps, values, { colour: theme.second, width: 4 });
    drawCurve(context, curve, steps, values, { colour: theme.first, width: 1.4 }); // on top: where both are one, both show
    context.strokeStyle = theme.ink;
    context.lineWidth = 1;
    const x = Math.round(placeOf(steps, this.chosen.step)) + 0.5;
    line(context, x, TOP, x, BOTTOM);
    this.history.setAttribute("aria-label", `${label} of ${this.chosen.row} over the run`);
    const key = (kind, text) => element("span", { className: `key ${kind}` }, text);
    const keys = isNorm ? [key("first", "gradient norm"), differ ? key("second", "after clipping") : "nothing clipped"] : [key("first", `${label} over the run`)];
    if (scale.usual) keys.push(key("band", "usual"));
    this.historyKeys.replaceChildren(...keys);
  }

  drawHistogram(theme) {
    const width = this.histogram.parentElement.clientWidth;
    const context = fit(this.histogram, width, HEIGHT);
    const { axis, rows, step } = this.bars;
    const norms = this.curves.grad_norm;
    const zero = norms.values[nearest(norms.steps, this.chosen.step)] === 0;
    this.histogramKeys.textContent = zero ? "all numbers of the gradient are exactly 0 at this step" : this.explained();
    this.histogram.hidden = zero || !rows.length;
    if (this.histogram.hidden) return;
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
    this.histogram.setAttribute("aria-label", `Histogram of the gradient of ${this.chosen.parameter} at step ${step}`);
  }

  // The histogram in words.
  explained() {
    const { axis, rows, step } = this.bars;
    const name = this.chosen.parameter.slice(this.chosen.parameter.lastIndexOf("/") + 1);
    if (!rows.length) return `no histogram of the gradient of ${name}: log.histograms has no gradients, or all numbers of it are 0`;
    const where = step === this.chosen.step ? "" : `, step ${count(step)} (the nearest)`;
    return `gradient of ${name} before clipping${where}: numbers ${axis === "log10" ? "per decade" : "by value"}`;
  }
}

// Makes an axis reach over what is usual, so that it shows how far off a curve is.
function widen(axis, usual) {
  axis.low = Math.min(axis.low, usual[0]);
  axis.high = Math.max(axis.high, usual[1]);
}
