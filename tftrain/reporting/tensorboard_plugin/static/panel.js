// One run: its name, what of it is not usual, the strip and the map, which share an axis of steps.

import { nearest, stepAxis } from "./axis.js";
import { element } from "./canvas.js";
import { findings } from "./findings.js";
import { HeatMap, labelWidth, LAST_VALUE_WIDTH } from "./heatmap.js";
import { called, QUANTITIES } from "./quantities.js";
import { count, distance, NONE, SIGNS, standing, words } from "./scale.js";
import { Strip } from "./strip.js";

export class Panel {
  // `told` hears `hover(cell or null)`, `chosen(cell)`, `incident(run, incidents)` and `quantity(name)`; a cell is all that is
  // known of it.
  constructor(run, told) {
    this.run = run;
    this.told = told;
    this.strip = new Strip(`Loss and clipping of ${called(run)}`, { incident: (incidents) => told.incident(run, incidents) });
    const help = `Gradients of ${called(run)}, layers by steps. Arrow keys move, Enter shows more.`;
    this.map = new HeatMap(help, {
      point: (cell) => this.point(cell),
      chosen: (cell) => told.chosen(this.known(cell)),
    });
    this.findings = element("p", { className: "findings" });
    this.fault = element("p", { className: "fault" });
    this.drawn = element("div", {}, this.findings, this.strip.root, this.map.root);
    this.root = element("section", { className: "run" }, element("h2", {}, called(run)), this.fault, this.drawn);
    this.root.dataset.run = run;
  }

  // `table` is what api.map gives, `course` what api.course does; or there is a `fault`, in words.
  draw({ fault, facts, table, course, rows, quantity }, { heights, theme }) {
    [this.fault.hidden, this.drawn.hidden] = [!fault, Boolean(fault)];
    this.fault.textContent = fault ? `⚠ This run cannot be shown: ${fault}` : "";
    if (fault) return;
    [this.facts, this.table, this.course, this.quantity, this.kind] = [facts, table, course, quantity, rows];
    const width = this.root.clientWidth;
    const axis = stepAxis(table.steps, labelWidth(table.names), width - LAST_VALUE_WIDTH, [course.loss.steps, course.val_loss.steps]);
    this.map.draw({ names: table.names, rows: table.values, scale: quantity.scale, axis }, { width, height: heights.map, theme });
    this.strip.draw(course, axis, { width, height: heights.strip, theme });
    this.tellFindings();
    if (this.map.pointed) this.point(this.map.pointed); // under a pointer that rests
  }

  // What stands outside of what is usual at the last point of each quantity; a click shows where.
  tellFindings() {
    const found = findings(this.course);
    const buttons = found.map(({ quantity, sign, text, step }) => {
      const title = `at step ${count(step)}; a click shows ${QUANTITIES[quantity].label}`;
      const button = element("button", { type: "button", className: `finding ${sign}`, title }, text);
      button.addEventListener("click", () => this.told.quantity(quantity));
      return button;
    });
    const said = "update_ratio" in this.course.latest ? "At its last point all is within what is usual" : "Not measured yet";
    this.findings.replaceChildren(...(found.length ? ["Not usual at its last point:", ...buttons] : [said]));
  }

  point(cell) {
    const known = cell && this.known(cell);
    this.strip.point(known ? known.step : null);
    this.told.hover(known);
  }

  known({ row, point }) {
    const [name, step] = [this.table.names[row], this.table.steps[point]];
    const value = this.table.values[row]?.[point] ?? NONE;
    const { scale, lacking } = this.quantity;
    const sign = standing(scale, value);
    const said = SIGNS[sign] + words(value, { lacking, percent: !scale.log }) + (sign ? `, ${sign === "usual" ? sign : `${sign} usual`}` : "");
    return {
      run: this.run,
      row: name,
      rows: this.kind,
      parameters: this.parametersOf(name),
      step,
      said,
      beside: this.beside(step),
      words: `${name}, step ${count(step)}: ${said}`,
      frame: this.map.cursor,
    };
  }

  // The parameters of a row with their sizes, the largest first.
  parametersOf(row) {
    const { parameters, sizes } = this.facts;
    const own = parameters.map((name, at) => ({ name, size: sizes[at] })).filter(({ name }) => name === row || name.startsWith(`${row}/`));
    const direct = own.filter(({ name }) => name === row || !name.slice(row.length + 1).includes("/"));
    return direct.sort((one, other) => (other.size ?? 0) - (one.size ?? 0));
  }

  // The cell that tells most at the last point: that which is furthest from what is usual.
  foremost() {
    const { steps, values } = this.table;
    const point = steps.length - 1;
    const far = values.map((row) => distance(this.quantity.scale, row[point] ?? NONE));
    const most = Math.max(...far);
    return { cell: point < 0 ? null : { row: Math.max(far.indexOf(most), 0), point }, distance: this.quantity.scale.usual ? most : -1 };
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
