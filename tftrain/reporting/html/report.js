// Draws the gradient maps of a report, with the modules of the Gradients tab.

import { stepAxis } from "./axis.js";
import { theme } from "./canvas.js";
import { HeatMap, labelWidth, LAST_VALUE_WIDTH } from "./heatmap.js";
import { Legend } from "./legend.js";
import { QUANTITIES } from "./quantities.js";
import { colourScale, count, words } from "./scale.js";

const MAP_HEIGHT = 400;
const TAIL = 0.01; // share of the norms at either end that have the colour of that end
const [MIN_DECADE, MAX_DECADE] = [-10, 4]; // so that a run that explodes does not make all others look alike
const tooltip = document.getElementById("tooltip");

// One run's map, from the data attributes of its element.
class GradientMap {
  constructor(root) {
    this.root = root;
    this.layers = JSON.parse(root.dataset.layers);
    this.steps = JSON.parse(root.dataset.steps);
    this.rows = decodeRows(root.dataset.norms, this.steps.length);
    this.map = new HeatMap(root.dataset.label, {
      point: (cell) => this.showCell(cell),
      chosen: () => {},
    });
    root.append(this.map.root);
  }

  draw(colours) {
    const width = this.root.clientWidth;
    const axis = stepAxis(this.steps, labelWidth(this.layers), width - LAST_VALUE_WIDTH);
    const content = { names: this.layers, rows: this.rows, axis, scale: quantity.scale };
    this.map.draw(content, { width, height: MAP_HEIGHT, theme: colours });
  }

  showCell(cell) {
    tooltip.hidden = !cell;
    if (!cell) return;
    const value = words(this.rows[cell.row][cell.point], quantity);
    tooltip.textContent = `${this.layers[cell.row]}\nstep ${count(this.steps[cell.point])}: ${value}`;
    const frame = this.map.cursor.getBoundingClientRect();
    const left = Math.min(frame.right + 12, innerWidth - tooltip.offsetWidth - 4);
    const top = Math.max(frame.top - tooltip.offsetHeight - 8, 4);
    tooltip.style.transform = `translate(${left}px, ${top}px)`;
  }
}

// Base64 of little-endian float32 [rows, points] -> rows of Float32Array [points].
function decodeRows(text, points) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const values = new Float32Array(bytes.buffer);
  return Array.from({ length: values.length / points }, (_, row) => values.subarray(row * points, (row + 1) * points));
}

// One scale for all runs, over a decade at least.
function sharedScale(maps) {
  const norms = maps.flatMap(({ rows }) => rows.flatMap((row) => [...row])).filter((norm) => norm > 0 && Number.isFinite(norm));
  const logs = norms.map(Math.log10).sort((one, other) => one - other);
  if (!logs.length) return QUANTITIES.grad_norm.scale;
  const first = logs[Math.floor(TAIL * (logs.length - 1))];
  const last = logs[Math.ceil((1 - TAIL) * (logs.length - 1))];
  const low = Math.min(Math.max(first, MIN_DECADE), MAX_DECADE - 1);
  const high = Math.max(Math.min(last, MAX_DECADE), MIN_DECADE + 1);
  const missing = Math.max(0, 1 - (high - low)) / 2;
  return colourScale({ log: true, low: 10 ** (low - missing), high: 10 ** (high + missing) });
}

const maps = [...document.querySelectorAll(".gradient-map")].map((root) => new GradientMap(root));
const quantity = { ...QUANTITIES.grad_norm, scale: sharedScale(maps) };
const legend = new Legend();
document.getElementById("gradient-legend")?.append(legend.root);

function drawAll() {
  const colours = theme();
  legend.draw(quantity, colours);
  for (const map of maps) map.draw(colours);
}

if (maps.length) {
  new ResizeObserver(drawAll).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", drawAll);
}
