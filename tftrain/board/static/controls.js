// The choices at the top: the quantity, the rows, and the runs.

import { element } from "./canvas.js";
import { called, QUANTITIES } from "./quantities.js";

export class Controls {
  // `changed` is called after each choice; `quantity`, `all` (rows), `apart` (a scale for each run) and `shown` (a Set of
  // runs) are what was chosen.
  constructor(changed) {
    this.changed = changed;
    this.quantity = Object.keys(QUANTITIES)[0];
    this.all = this.apart = false;
    this.shown = new Set();
    this.known = new Set();
    this.runs = element("div", { className: "boxes" });
    const quantities = Object.entries(QUANTITIES).map(([value, { label, title }]) => ({ value, label, title }));
    const rows = [
      { value: "kernels", label: "Kernels", title: "The matrices of the layers" },
      { value: "all", label: "All parameters", title: "Biases and the like too" },
    ];
    const scales = [
      { value: "shared", label: "Shared", title: "A colour is the same number in all runs" },
      { value: "own", label: "Own", title: "A run's colours go from its least to its largest" },
    ];
    this.root = element(
      "div",
      { id: "controls" },
      this.switch("quantity", "Quantity", quantities, (value) => (this.quantity = value)),
      this.switch("rows", "Rows", rows, (value) => (this.all = value === "all")),
      this.switch("scale", "Scale", scales, (value) => (this.apart = value === "own")),
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

  // Lists the runs; the newest of those that were not there before are shown, as long as these are few.
  list(runs, few) {
    const names = Object.keys(runs);
    for (const gone of [...this.known].filter((name) => !names.includes(name))) {
      this.known.delete(gone);
      this.shown.delete(gone);
    }
    const fresh = names.filter((name) => !this.known.has(name)).sort((one, other) => runs[other].started - runs[one].started);
    for (const name of fresh) if (this.known.add(name) && this.shown.size < few) this.shown.add(name);
    for (const box of [...this.runs.children]) if (!names.includes(box.dataset.run)) box.remove();
    names.forEach((name, at) => {
      if (this.runs.children[at]?.dataset.run !== name) this.runs.insertBefore(this.box(name), this.runs.children[at] ?? null);
    });
  }

  box(name) {
    const input = element("input", { type: "checkbox", value: name, checked: this.shown.has(name) });
    input.addEventListener("change", () => {
      if (input.checked) this.shown.add(name);
      else this.shown.delete(name);
      this.changed();
    });
    const box = element("label", {}, input, element("span", {}, called(name)));
    box.dataset.run = name;
    return box;
  }
}
