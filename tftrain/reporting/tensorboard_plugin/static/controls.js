// The choices at the top: the quantity with what it means, the rows, and the runs.

import { element } from "./canvas.js";
import { called, QUANTITIES } from "./quantities.js";

const ROWS = [
  { value: "layers", label: "Layers", title: "all parameters of a layer together" },
  { value: "parameters", label: "Parameters", title: "each by itself" },
];

export class Controls {
  // `changed` is called after each choice; `quantity`, `rows` and `shown` (a Set of runs) are what was chosen.
  constructor(changed) {
    this.changed = changed;
    this.quantity = Object.keys(QUANTITIES)[0];
    this.rows = ROWS[0].value;
    this.shown = new Set();
    this.known = new Set();
    this.names = [];
    this.boxes = element("div", { className: "boxes" });
    this.counted = element("span", { className: "counted" });
    this.rowsTitle = element("legend", {});
    this.all = this.button("Show all", () => this.names);
    this.none = this.button("None", () => []);
    this.faults = element("details", { id: "faults", hidden: true });
    this.meaning = element("p", { id: "meaning" });
    const quantities = Object.entries(QUANTITIES).map(([value, { label, meaning }]) => ({ value, label, title: meaning }));
    this.root = element(
      "div",
      { id: "controls" },
      this.switch("quantity", element("legend", {}, "Quantity"), quantities, (value) => (this.quantity = value)),
      this.switch("rows", this.rowsTitle, ROWS, (value) => (this.rows = value)),
      this.meaning,
      element("div", { id: "runs", role: "group", "aria-label": "Runs" }, this.counted, this.all, this.none, this.boxes),
      this.faults,
    );
    this.explain();
  }

  switch(name, legend, choices, choose) {
    const made = choices.map(({ value, label, title }, index) => {
      const input = element("input", { type: "radio", name, value, checked: index === 0 });
      input.addEventListener("change", () => {
        choose(value);
        this.explain();
        this.changed();
      });
      return element("label", { title }, input, element("span", {}, label));
    });
    const choice = element("div", { className: "switch" }, ...made);
    return element("fieldset", { id: name }, legend, choice);
  }

  choose(quantity) {
    this.root.querySelector(`input[name=quantity][value=${quantity}]`).click();
  }

  explain() {
    const { meaning, usual, ofLayers } = QUANTITIES[this.quantity];
    this.meaning.replaceChildren(element("strong", {}, meaning), ` ${usual}`);
    const { title } = ROWS.find(({ value }) => value === this.rows);
    this.rowsTitle.textContent = `Rows: ${ofLayers && this.rows === "parameters" ? "those of a layer share it" : title}`;
  }

  button(label, chosen) {
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => {
      this.shown = new Set(chosen());
      for (const input of this.boxes.querySelectorAll("input")) input.checked = this.shown.has(input.value);
      this.count();
      this.changed();
    });
    return button;
  }

  // Lists the runs that can be shown, and of the others what is wrong with them. All that were not there before are shown, the
  // newest first, as long as these are no more than `most`.
  list(runs, most) {
    this.names = Object.keys(runs).filter((name) => !runs[name].fault);
    const { names } = this;
    for (const gone of [...this.known].filter((name) => !names.includes(name))) {
      this.known.delete(gone);
      this.shown.delete(gone);
    }
    const fresh = names.filter((name) => !this.known.has(name)).sort((one, other) => runs[other].started - runs[one].started);
    for (const name of fresh) if (this.known.add(name) && this.shown.size < most) this.shown.add(name);
    for (const box of [...this.boxes.children]) if (!names.includes(box.dataset.run)) box.remove();
    names.forEach((name, at) => {
      if (this.boxes.children[at]?.dataset.run !== name) this.boxes.insertBefore(this.box(name), this.boxes.children[at] ?? null);
    });
    this.count();
    this.listFaults(Object.entries(runs).filter(([, { fault }]) => fault));
  }

  box(name) {
    const input = element("input", { type: "checkbox", value: name, checked: this.shown.has(name) });
    input.addEventListener("change", () => {
      if (input.checked) this.shown.add(name);
      else this.shown.delete(name);
      this.count();
      this.changed();
    });
    const box = element("label", {}, input, element("span", {}, called(name)));
    box.dataset.run = name;
    return box;
  }

  count() {
    const [shown, all] = [this.shown.size, this.names.length];
    this.counted.textContent = shown === all ? `Runs: ${all > 1 ? "all " : ""}${all} shown` : `Runs: ${shown} of ${all} shown`;
    this.all.hidden = shown === all;
    this.none.hidden = shown === 0 || all === 1;
  }

  listFaults(faults) {
    this.faults.hidden = !faults.length;
    const told = faults.map(([name, { fault }]) => element("li", {}, element("strong", {}, called(name)), `: ${fault}`));
    const title = `⚠ ${faults.length} ${faults.length === 1 ? "run" : "runs"} in this log cannot be shown`;
    const now = faults.map(([name, { fault }]) => name + fault).join();
    if (now === this.told) return; // what a reader has opened stays open
    this.told = now;
    this.faults.open = faults.length <= 2;
    this.faults.replaceChildren(element("summary", {}, title), element("ul", {}, ...told));
  }
}
