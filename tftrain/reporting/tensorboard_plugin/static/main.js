// The Gradients tab: asks the server, and draws every run that is chosen.

import * as api from "./api.js";
import { element, followTheme, theme } from "./canvas.js";
import { Controls } from "./controls.js";
import { Detail } from "./detail.js";
import { Legend } from "./legend.js";
import { Panel } from "./panel.js";
import { called, QUANTITIES } from "./quantities.js";
import { count } from "./scale.js";

const EVERY = 30_000; // milliseconds between two looks at a run that may go on
const MOST = 24; // runs that are shown at first
const HEIGHTS = [
  { runs: 2, strip: 104, map: 400 },
  { runs: 4, strip: 84, map: 260 },
  { runs: Infinity, strip: 72, map: 190 },
];
const EMPTY = `
  <h1>No gradients in this log yet</h1>
  <p>This tab shows for every layer at every step how far it moves and what its gradient is. A run writes that by itself:</p>
  <pre>python -m tftrain --config FILE.yaml\npython -m tftrain board runs</pre>
  <p>or start TensorBoard on the folder of your runs: <code>tensorboard --logdir runs</code>. A run that has just begun is here
  after its first points; this page looks again every half minute.</p>`;

class Page {
  constructor() {
    this.controls = new Controls(() => this.refresh());
    this.legend = new Legend();
    this.detail = new Detail(() => this.choose(null));
    this.panels = new Map();
    this.found = new Map();
    this.grid = element("main", { id: "grid" });
    this.empty = element("div", { id: "empty", hidden: true, innerHTML: EMPTY });
    this.failure = element("p", { id: "failure", role: "alert", hidden: true });
    this.tooltip = element("div", { id: "tooltip", role: "tooltip", hidden: true });
    this.status = element("p", { id: "status", role: "status" });
    this.top = element("header", { id: "top", hidden: true }, this.controls.root, this.legend.root);
    this.body = element("div", { id: "body" }, this.grid, this.detail.root);
    document.body.append(this.top, this.failure, this.empty, this.body, this.tooltip, this.status);
    document.addEventListener("scroll", () => this.tooltip.hidden || this.place(this.beside));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.choose(null));
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
  }

  // Looks whether there is more to show, unless an answer is still to come.
  async look() {
    if (!this.asked) await this.refresh();
  }

  // Asks for all that is shown, and draws it.
  async refresh() {
    const asked = (this.asked = {});
    document.body.ariaBusy = "true";
    try {
      this.runs = await api.runs();
      this.controls.list(this.runs, MOST);
      const { quantity, rows, shown } = this.controls;
      const names = Object.keys(this.runs).filter((run) => shown.has(run));
      const found = await Promise.all(names.map((run) => this.read(run, quantity, rows)));
      if (this.asked !== asked) return; // something else was chosen meanwhile
      this.found = new Map(names.map((run, index) => [run, { ...found[index], quantity: QUANTITIES[quantity], rows }]));
      this.failure.hidden = true;
      this.draw();
      await this.renewDetail(quantity);
    } catch (error) {
      if (this.asked === asked) this.tell(error.answered ? error.message : `TensorBoard does not answer: ${error.message}`);
    }
    if (this.asked !== asked) return;
    this.asked = null;
    document.body.ariaBusy = "false";
  }

  // All of a run that is shown; what the server cannot read of it is its own fault, and not that of others.
  async read(run, quantity, rows) {
    try {
      const [table, course] = await Promise.all([api.map(run, quantity, rows), api.course(run)]);
      return { facts: this.runs[run], table, course };
    } catch (error) {
      if (!error.answered) throw error;
      return { fault: error.message };
    }
  }

  // What is open beside the maps grows with its run, and goes with it. Until something is chosen it is the cell that tells most.
  async renewDetail(quantity) {
    const { chosen } = this.detail;
    if (chosen && !(chosen.run in this.runs && this.controls.shown.has(chosen.run))) await this.detail.show(null);
    else if (chosen && !chosen.incidents) await this.detail.show(chosen, quantity);
    else if (!chosen && !this.closed) await this.detail.show(this.foremost(), quantity);
    this.detail.quantity = quantity;
    this.mark();
    this.draw(); // the maps have another width where it came or went
  }

  foremost() {
    const panels = [...this.found].filter(([, { fault }]) => !fault).map(([run]) => this.panels.get(run));
    const found = panels.map((panel) => ({ panel, ...panel.foremost() })).filter(({ cell }) => cell);
    const first = found.find(({ distance }) => distance > 0) ?? found[0];
    return first ? first.panel.known(first.cell) : null;
  }

  tell(words) {
    this.failure.textContent = words;
    this.failure.hidden = false;
  }

  draw() {
    if (!this.runs) return; // nothing is known yet
    const empty = !Object.values(this.runs).some(({ fault }) => !fault);
    [this.empty.hidden, this.top.hidden] = [!empty, !Object.keys(this.runs).length];
    this.top.classList.toggle("faults-only", empty);
    this.arrange();
    const colours = theme();
    this.legend.draw(QUANTITIES[this.controls.quantity], colours);
    const heights = HEIGHTS.find(({ runs }) => this.found.size <= runs);
    for (const [run, found] of this.found) this.panels.get(run).draw(found, { heights, theme: colours });
    this.detail.draw(colours);
    document.body.dataset.drawn = String(this.found.size); // for whoever waits for the picture
  }

  // A panel for each run that is shown, in the order of their names.
  arrange() {
    for (const [run, panel] of this.panels) if (!this.found.has(run)) this.panels.delete(run) && panel.root.remove();
    for (const run of this.found.keys()) if (!this.panels.has(run)) this.panels.set(run, this.panel(run));
    const wanted = [...this.found.keys()].map((run) => this.panels.get(run).root);
    if (wanted.some((root, index) => this.grid.children[index] !== root)) this.grid.replaceChildren(...wanted);
    this.grid.classList.toggle("single", wanted.length === 1);
  }

  panel(run) {
    return new Panel(run, {
      hover: (cell) => this.hover(cell),
      chosen: (cell) => this.choose(cell),
      incident: (run, incidents) => this.choose({ run, incidents }),
      quantity: (name) => this.controls.choose(name),
    });
  }

  hover(cell) {
    this.tooltip.hidden = !cell;
    if (!cell) return;
    this.status.textContent = cell.words;
    const facts = [cell.row, `step ${count(cell.step)}`, called(cell.run), ...cell.beside];
    this.tooltip.replaceChildren(element("strong", {}, cell.said), ...facts.map((text) => element("div", {}, text)));
    this.place(cell.frame);
  }

  // The tooltip beside the frame of a cell.
  place(cursor) {
    this.beside = cursor;
    const [frame, own] = [cursor.getBoundingClientRect(), this.tooltip.getBoundingClientRect()];
    const left = frame.right + 12 + own.width < innerWidth ? frame.right + 12 : frame.left - own.width - 12;
    const top = Math.min(Math.max(frame.top - 8, 4), innerHeight - own.height - 4);
    this.tooltip.style.transform = `translate(${Math.max(left, 4)}px, ${top}px)`;
  }

  // Opens what was chosen beside the maps, where the focus then is, or closes it and goes back to where that was.
  async choose(chosen) {
    const open = !this.detail.root.hidden;
    this.closed = !chosen;
    try {
      if (chosen && !this.detail.root.contains(document.activeElement)) this.opener = document.activeElement;
      await this.detail.show(chosen, this.controls.quantity);
      this.mark();
      if (chosen) this.detail.title.focus();
      else if (open && this.opener?.isConnected) this.opener.focus();
      if (open === this.detail.root.hidden) this.draw();
    } catch (error) {
      this.tell(error.message);
    }
  }

  // Shows in its map which cell is open.
  mark() {
    const { chosen } = this.detail;
    for (const [run, panel] of this.panels) {
      if (this.found.get(run)?.fault) continue;
      const here = chosen?.run === run && !chosen.incidents;
      panel.map.markCell(here ? chosen.row : null, here ? chosen.step : null);
    }
  }
}

export async function render() {
  document.documentElement.lang = "en";
  const style = element("link", { rel: "stylesheet", href: new URL("style.css", import.meta.url).href });
  const styled = new Promise((resolve) => (style.onload = style.onerror = resolve));
  document.head.append(style);
  const page = new Page();
  await styled;
  followTheme(() => page.draw());
  await page.refresh();
  new ResizeObserver(() => page.draw()).observe(document.body);
  setInterval(() => document.hidden || page.look(), EVERY);
}
