// The choices at the top: the quantity, the rows, and the runs.

import { element } from "./canvas.js";
import { QUANTITIES } from "./quantities.js";

export class Controls {
  // `changed` is called after each choice; `quantity`, `all` (rows) and `shown` (a Set of runs) are what was chosen.
  constructor(changed) {
    this.changed = changed;
    this.quantity = Object.keys(QUANTITIES)[0];
    this.all = false;
    this.shown = null;
    this.runs = element("div", { className: "boxes" });
    const quantities = Object.entries(QUANTITIES).map(([value, { label, title }]) => ({ value, label, title }));
    const rows = [
      { value: "kernels", label: "Kernels", title: "The matrices of the layers" },
      { value: "all", label: "All parameters", title: "Biases and the like too" },
    ];
    this.root = element(
      "div",
      { id: "controls" },
      this.switch("quantity", "Quantity", quantities, (value) => (this.quantity = value)),
      this.switch("rows", "Rows", rows, (value) => (this.all = value === "all")),
      element("fieldset", { id: "runs" }, element("legend", {}, "Runs"), this.runs),
    );
  }

  switch(name, legend, choices, choose) {
    const made = choices.map(({ value, label, title }, index) => {
      const input = element("input", { type: "radio", name, value, checked: index === 0 });
      input.addEventListener("change", () => {
        choose(value);
        this.changed();
      });
      return element("label", { title }, input, element("span", {}, label));
    });
    const choice = element("div", { className: "switch" }, ...made);
    return element("fieldset", { id: name }, element("legend", {}, legend), choice);
  }

  // Lists the runs; at first the newest few are shown.
  list(runs, few) {
    const names = Object.keys(runs);
    const newest = [...names].sort((one, other) => runs[other].started - runs[one].started);
    this.shown ??= new Set(newest.slice(0, few));
    const listed = [...this.runs.querySelectorAll("input")].map((input) => input.value);
    if (JSON.stringify(listed) === JSON.stringify(names)) return;
    this.runs.replaceChildren(...names.map((name) => this.box(name)));
  }

  box(name) {
    const input = element("input", { type: "checkbox", value: name, checked: this.shown.has(name) });
    input.addEventListener("change", () => {
      if (input.checked) this.shown.add(name);
      else this.shown.delete(name);
      this.changed();
    });
    return element("label", {}, input, element("span", {}, name === "." ? "this run" : name));
  }
}
