// The map of one run: a row for each layer or parameter, in the model's order, a column for each point, and beside each row
// its last number.

import { columns, drawStepAxis, nearest, placeOf } from "./axis.js";
import { element, fit, FONT, hatch } from "./canvas.js";
import { brief, colour, distance, NONE, SIGNS, standing } from "./scale.js";

const AXIS = 24; // height below the rows
const [LEAST, MOST] = [7, 30]; // height of a row
const [LABEL, GAPPED] = [13, 13]; // the least height for a label, and of a row that has a gap below it

const [MIN_LABEL_WIDTH, MAX_LABEL_WIDTH, LABEL_GAP] = [48, 190, 14];
export const LAST_VALUE_WIDTH = 66; // right of the cells

// Pixels that the names of rows take, left of the cells.
export function labelWidth(names) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = FONT;
  const widest = Math.max(...names.map((name) => context.measureText(name).width));
  return Math.ceil(Math.min(Math.max(widest, MIN_LABEL_WIDTH), MAX_LABEL_WIDTH)) + LABEL_GAP;
}

export class HeatMap {
  // `told` hears `point(cell or null)` and `chosen(cell)`, a cell being { row, point } as indices.
  constructor(label, told) {
    this.canvas = element("canvas", { className: "map-canvas", tabIndex: 0, role: "application", "aria-label": label });
    this.cursor = element("div", { className: "cursor", hidden: true });
    this.mark = element("div", { className: "mark", hidden: true });
    this.root = element("div", { className: "map" }, this.canvas, this.mark, this.cursor);
    this.told = told;
    this.cell = this.marked = null;
    this.canvas.addEventListener("pointermove", (event) => this.point(this.cellAt(event)));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    this.canvas.addEventListener("click", (event) => this.choose(this.cellAt(event)));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => this.canvas.matches(":focus-visible") && this.point(this.cell ?? { row: 0, point: 0 }));
    this.canvas.addEventListener("blur", () => this.point(null));
  }

  // `shown`: names [rows], rows [rows] of numbers [points], axis, scale; `look`: width, height of all rows, theme.
  draw(shown, look) {
    this.keep(shown);
    this.shown = shown;
    this.height = Math.min(Math.max(Math.floor(look.height / shown.rows.length), LEAST), MOST);
    const context = fit(this.canvas, look.width, shown.rows.length * this.height + AXIS);
    if (!shown.axis.steps.length) this.drawNothing(context, look);
    else {
      this.drawCells(context, look);
      this.drawLast(context, look);
      drawStepAxis(context, shown.axis, shown.rows.length * this.height, look.theme);
    }
    this.drawLabels(context, look);
    this.place();
  }

  // The cell stays at its row and its step, where a quantity has other points, or parameters take the place of layers.
  keep({ axis, rows, names }) {
    const layer = (name) => name.slice(0, name.indexOf("/") < 0 ? name.length : name.lastIndexOf("/"));
    const moved = (cell) => {
      if (!cell || !axis.steps.length || !rows.length) return null;
      const [name, step] = [this.shown.names[cell.row], this.shown.axis.steps[cell.point]];
      const row = [names.indexOf(name), names.findIndex((one) => layer(one) === layer(name)), Math.min(cell.row, rows.length - 1)];
      return { row: row.find((one) => one >= 0), point: nearest(axis.steps, step) };
    };
    [this.cell, this.pointed] = [moved(this.cell), moved(this.pointed)];
  }

  drawNothing(context, { theme }) {
    const { axis, rows } = this.shown;
    context.fillStyle = hatch(context, theme);
    context.fillRect(axis.left, 0, axis.right - axis.left, rows.length * this.height);
    context.textBaseline = "top";
    context.textAlign = "left";
    context.fillStyle = theme.ink;
    context.fillText("not measured yet: a run measures this at its histogram steps", axis.left, rows.length * this.height + 6);
  }

  drawCells(context, { theme }) {
    const { rows, axis, scale } = this.shown;
    const [span, sharp] = [axis.right - axis.left, window.devicePixelRatio || 1];
    const width = Math.max(1, Math.round(span * sharp));
    const pixels = new ImageData(width, rows.length);
    const colours = new Uint32Array(pixels.data.buffer);
    const shows = (this.shows = columns(axis, width));
    rows.forEach((values, row) => {
      const own = Uint32Array.from(values, (value) => colour(scale, value));
      const far = Float64Array.from(values, (value) => distance(scale, value));
      for (let column = 0; column < width; column++) {
        const [first, last] = [shows[2 * column], shows[2 * column + 1]];
        colours[row * width + column] = own[first === last ? first : furthest(far, first, last)];
      }
    });
    const small = new OffscreenCanvas(width, rows.length);
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.fillStyle = hatch(context, theme);
    context.fillRect(axis.left, 0, span, rows.length * this.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, axis.left, 0, span, rows.length * this.height);
    if (this.height < GAPPED) return;
    context.fillStyle = theme.ground;
    for (let row = 1; row < rows.length; row++) context.fillRect(axis.left, row * this.height - 1, span, 1);
  }

  // The last number of each row, with a sign where it is not usual.
  drawLast(context, { theme }) {
    const { rows, axis, scale } = this.shown;
    const every = Math.ceil(LABEL / this.height);
    context.font = FONT;
    context.textAlign = "left";
    context.textBaseline = "middle";
    rows.forEach((values, row) => {
      if (row % every || !values.length) return;
      const last = values[values.length - 1];
      const sign = standing(scale, last);
      context.fillStyle = sign === "below" || sign === "above" || !Number.isFinite(last) ? theme.ink : theme.faint;
      context.fillText(SIGNS[sign] + lastText(scale, last), axis.right + 6, Math.max((row + 0.5) * this.height, 6));
    });
    context.textBaseline = "top";
    context.fillStyle = theme.faint;
    context.fillText("last", axis.right + 30, rows.length * this.height + 6);
  }

  drawLabels(context, { theme }) {
    const { names, axis } = this.shown;
    const every = Math.ceil(LABEL / this.height);
    context.font = FONT;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillStyle = theme.ink;
    names.forEach((name, row) => {
      if (row % every) return;
      context.fillText(shortened(context, name, axis.left - 12), axis.left - 8, Math.max((row + 0.5) * this.height, 6));
    });
  }

  cellAt(event) {
    const { axis, rows } = this.shown;
    const row = Math.floor(event.offsetY / this.height);
    if (row < 0 || row >= rows.length || !axis.steps.length || event.offsetX > axis.right) return null;
    const share = Math.min(Math.max((event.offsetX - axis.left) / (axis.right - axis.left), 0), 1);
    const column = Math.min(Math.floor((share * this.shows.length) / 2), this.shows.length / 2 - 1);
    const far = Float64Array.from(rows[row], (value) => distance(this.shown.scale, value));
    return { row, point: furthest(far, this.shows[2 * column], this.shows[2 * column + 1]) }; // as it is drawn
  }

  key(event) {
    const { axis, rows } = this.shown;
    const [points, at] = [axis.steps.length, this.cell ?? { row: 0, point: 0 }];
    if (!points) return;
    const far = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowLeft: { ...at, point: Math.max(at.point - far, 0) },
      ArrowRight: { ...at, point: Math.min(at.point + far, points - 1) },
      ArrowUp: { ...at, row: Math.max(at.row - 1, 0) },
      ArrowDown: { ...at, row: Math.min(at.row + 1, rows.length - 1) },
      Home: { ...at, point: 0 },
      End: { ...at, point: points - 1 },
    };
    if (event.key in moves) this.point(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.choose(at);
    else return;
    event.preventDefault();
  }

  point(cell) {
    if (cell) this.cell = cell;
    this.pointed = cell;
    this.place();
    this.told.point(cell);
  }

  choose(cell) {
    if (cell) this.told.chosen(cell);
  }

  // Marks the cell of a row at a step as the one that is open; none for null.
  markCell(name, step) {
    this.marked = name === null ? null : { name, step };
    this.place();
  }

  // Puts the frames of the cursor and of the mark where they belong.
  place() {
    const { axis, names } = this.shown;
    this.frame(this.cursor, this.pointed);
    const row = this.marked && axis.steps.length ? names.indexOf(this.marked.name) : -1;
    this.frame(this.mark, row < 0 ? null : { row, point: nearest(axis.steps, this.marked.step) });
  }

  frame(frame, cell) {
    const { axis, rows } = this.shown;
    frame.hidden = !(cell && cell.row < rows.length && cell.point < axis.steps.length);
    if (frame.hidden) return;
    const [from, to] = this.edges(cell.point);
    const [left, width] = [Math.max(from, axis.left) - 1, Math.max(to - from, 3)];
    frame.style.transform = `translate(${left}px, ${cell.row * this.height}px)`;
    frame.style.width = `${width}px`;
    frame.style.height = `${this.height}px`;
  }

  edges(point) {
    const { steps, low, high } = this.shown.axis;
    const before = point > 0 ? (steps[point - 1] + steps[point]) / 2 : low;
    const after = point < steps.length - 1 ? (steps[point] + steps[point + 1]) / 2 : high;
    return [placeOf(this.shown.axis, before), placeOf(this.shown.axis, after)];
  }
}

// Of several points in one column the one that is furthest from what is usual, so that no spike hides.
function furthest(far, first, last) {
  let found = first;
  for (let at = first + 1; at <= last; at++) if (far[at] > far[found]) found = at;
  return found;
}

function lastText(scale, value) {
  if (value === NONE) return "–";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return "inf";
  return scale.log ? brief(value, 2) : `${brief(100 * value, 2)} %`;
}

// Without its middle where it is too long.
function shortened(context, name, width) {
  if (context.measureText(name).width <= width) return name;
  let kept = name.length - 2;
  const cut = () => `${name.slice(0, Math.ceil(kept / 2))}…${name.slice(name.length - Math.floor(kept / 2))}`;
  while (kept > 4 && context.measureText(cut()).width > width) kept--;
  return cut();
}
