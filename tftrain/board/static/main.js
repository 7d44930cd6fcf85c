// The Gradients tab: asks the server, and draws every run that is chosen.

import * as api from "./api.js";
import { element, followTheme, theme } from "./canvas.js";
import { Controls } from "./controls.js";
import { Detail } from "./detail.js";
import { Legend } from "./legend.js";
import { NOTHING, Panel } from "./panel.js";
import { called, layerRows, QUANTITIES, rowsOf } from "./quantities.js";
import { colourScale, count } from "./scale.js";

const EVERY = 30_000; // milliseconds between two looks at a run that may go on
const FEW = 4; // runs that are shown at first
const EMPTY = `
  <h1>No gradients in this log yet</h1>
  <p>This tab shows the gradient norm of every layer at every step, before and after clipping. A run writes them by itself:</p>
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
    document.body.append(this.top, this.failure, this.empty, this.grid, this.detail.root, this.tooltip, this.status);
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
      this.controls.list(this.runs, FEW);
      const { quantity, shown } = this.controls;
      const names = Object.keys(this.runs).filter((run) => shown.has(run));
      const found = await Promise.all(names.map((run) => this.read(run, quantity)));
      if (this.asked !== asked) return; // something else was chosen meanwhile
      this.found = new Map(names.map((run, index) => [run, found[index]]));
      this.drawn = quantity;
      this.failure.hidden = true;
      this.draw();
      await this.renewDetail(shown);
    } catch (error) {
      if (this.asked === asked) this.tell(`TensorBoard does not answer: ${error.message}`);
    }
    if (this.asked !== asked) return;
    this.asked = null;
    document.body.ariaBusy = "false";
  }

  // What is open at the bottom grows with its run, and goes with it.
  async renewDetail(shown) {
    const { chosen } = this.detail;
    if (chosen && !(shown.has(chosen.run) && chosen.run in this.runs)) await this.detail.show(null);
    else if (chosen && !chosen.incidents) await this.detail.show(chosen);
  }

  tell(words) {
    this.failure.textContent = words;
    this.failure.hidden = false;
  }

  async read(run, quantity) {
    const [table, course] = await Promise.all([api.map(run, quantity), api.course(run)]);
    return { facts: this.runs[run], table, course: { ...NOTHING, ...course } };
  }

  draw() {
    if (!this.runs) return; // nothing is known yet
    const empty = !Object.keys(this.runs).length;
    [this.empty.hidden, this.top.hidden] = [!empty, empty];
    this.arrange();
    const [colours, quantity] = [theme(), QUANTITIES[this.drawn ?? this.controls.quantity]];
    const { all, apart } = this.controls;
    const rowsFor = ({ facts, table }) => (quantity.ofLayers ? layerRows(facts, table, all) : rowsOf(facts, all));
    const shown = [...this.found].map(([run, found]) => [run, { ...found, quantity, rows: rowsFor(found) }]);
    const tables = shown.map(([, { table, rows }]) => rows.map((row) => table.values[row]).filter(Boolean));
    const shared = colourScale(tables, quantity.share);
    this.legend.draw(apart && !quantity.share ? null : shared, quantity, colours);
    shown.forEach(([run, found], at) => {
      const scale = apart ? colourScale([tables[at]], quantity.share) : shared;
      this.panels.get(run).draw(found, { scale, apart }, colours);
    });
    this.detail.draw(colours);
    document.body.dataset.drawn = String(shown.length); // for whoever waits for the picture
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
    });
  }

  hover(cell) {
    this.tooltip.hidden = !cell;
    if (!cell) return;
    this.status.textContent = cell.words;
    const facts = [cell.parameter, `step ${count(cell.step)}`, called(cell.run), ...cell.beside];
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

  // Opens what was chosen at the bottom, where the focus then is, or closes it and goes back to where that was.
  async choose(chosen) {
    const open = !this.detail.root.hidden;
    try {
      if (chosen && !this.detail.root.contains(document.activeElement)) this.opener = document.activeElement;
      await this.detail.show(chosen);
      if (chosen) this.detail.title.focus();
      else if (open && this.opener?.isConnected) this.opener.focus();
    } catch (error) {
      this.tell(error.message);
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
