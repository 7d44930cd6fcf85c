// One run: its name, the strip and the map, which share an axis of steps.

import { NONE } from "./api.js";
import { nearest, stepAxis } from "./axis.js";
import { element, FONT } from "./canvas.js";
import { HeatMap } from "./heatmap.js";
import { reach } from "./legend.js";
import { called } from "./quantities.js";
import { count, words } from "./scale.js";
import { Strip } from "./strip.js";

const [LEAST_LABEL, MOST_LABEL, RIGHT] = [48, 190, 48];
const EMPTY = { steps: [], values: new Float64Array() };

export class Panel {
  // `told` hears `hover(cell or null)`, `chosen(cell)` and `incident(run, incident)`; a cell is all that is known of it.
  constructor(run, told) {
    this.run = run;
    this.told = told;
    this.strip = new Strip(`Loss and clipping of ${called(run)}`, { incident: (one) => told.incident(run, one) });
    const help = `Gradients of ${called(run)}, parameters by steps. Arrow keys move, Enter shows more.`;
    this.map = new HeatMap(help, {
      point: (cell) => this.point(cell),
      chosen: (cell) => told.chosen(this.known(cell)),
    });
    this.range = element("small", { className: "range" });
    this.title = element("h2", {}, called(run), this.range);
    this.root = element("section", { className: "run" }, this.title, this.strip.root, this.map.root);
    this.root.dataset.run = run;
  }

  // `table` is what api.map gives, `rows` the indices of those that are shown; `apart` says that the scale is the run's own.
  draw({ facts, table, course, rows, quantity }, { scale, apart }, theme) {
    [this.facts, this.rows, this.course, this.lacking] = [facts, rows, course, quantity.lacking];
    this.range.textContent = apart && !scale.nothing && !scale.share ? ` colours from ${reach(scale).join(" to ")}` : "";
    const names = this.labels(rows.map((row) => facts.parameters[row]));
    const width = this.root.clientWidth;
    const axis = stepAxis(table.steps, this.labelWidth(names), width - RIGHT, [course.loss.steps, course.val_loss.steps]);
    const keys = rows.map((row) => facts.parameters[row]);
    const shown = { names, keys, rows: rows.map((row) => table.values[row] ?? new Float64Array()), scale };
    this.map.draw({ ...shown, axis }, { width, theme });
    this.strip.draw(course, axis, { width, theme });
    this.steps = table.steps;
    if (this.map.pointed) this.point(this.map.pointed); // under a pointer that rests
  }

  // Where each layer has one row, its name is enough.
  labels(names) {
    const layers = names.map((name) => name.slice(0, name.lastIndexOf("/")));
    return new Set(layers).size === layers.length ? layers : names;
  }

  labelWidth(names) {
    const context = (this.measure ??= document.createElement("canvas").getContext("2d"));
    context.font = FONT;
    const widest = Math.max(...names.map((name) => context.measureText(name).width));
    return Math.ceil(Math.min(Math.max(widest, LEAST_LABEL), MOST_LABEL)) + 14;
  }

  point(cell) {
    const known = cell && this.known(cell);
    this.strip.point(known ? known.step : null);
    this.told.hover(known);
  }

  known({ row, point }) {
    const index = this.rows[row];
    const value = this.map.shown.rows[row]?.[point] ?? NONE;
    const said = words(value, this.lacking);
    return {
      run: this.run,
      parameter: this.facts.parameters[index],
      size: this.facts.sizes[index],
      step: this.steps[point],
      said,
      beside: this.beside(this.steps[point]),
      words: `${this.facts.parameters[index]}, step ${count(this.steps[point])}: ${said}`,
      frame: this.map.cursor,
    };
  }

  // The loss and the share of clipped steps there, in words.
  beside(step) {
    const at = ({ steps, values }) => (steps.length ? values[nearest(steps, step)] : NONE);
    const [loss, clipped] = [at(this.course.loss), at(this.course.clip_rate)];
    return [
      loss === NONE ? "" : `loss ${words(loss)}`,
      clipped === NONE ? "" : `${Math.round(100 * clipped)} % of the steps clipped`,
    ].filter(Boolean);
  }
}

export const NOTHING = { loss: EMPTY, val_loss: EMPTY, clip_rate: EMPTY, nonfinite_steps: EMPTY, incidents: [] };
