// A canvas as sharp as the screen, and the colours of light and dark.

export const FONT = "12px Roboto, system-ui, sans-serif";

// Makes the canvas so large, in CSS pixels, and empty; returns its context.
export function fit(canvas, width, height) {
  const sharp = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(sharp, 0, 0, sharp, 0, 0);
  context.font = FONT;
  return context;
}

// The pattern of what was not measured: no colour of any scale looks like it.
export function hatch(context, theme) {
  const tile = new OffscreenCanvas(12, 12);
  const lines = tile.getContext("2d");
  lines.strokeStyle = theme.absent;
  lines.lineWidth = 2;
  lines.beginPath();
  for (const at of [-12, -6, 0, 6, 12]) {
    lines.moveTo(at - 2, 14);
    lines.lineTo(at + 14, -2);
  }
  lines.stroke();
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(0.5));
  return pattern;
}

export function theme() {
  const style = getComputedStyle(document.body);
  const names = ["ground", "ink", "faint", "line", "absent", "usual", "first", "second", "third", "alarm"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// Follows TensorBoard's dark mode, or the system's where the page is open by itself; `changed` is called at each change.
export function followTheme(changed) {
  const outer = window.parent === window ? null : window.parent.document.body;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const set = () => {
    document.body.classList.toggle("dark", outer ? outer.classList.contains("dark-mode") : system.matches);
    changed();
  };
  if (outer) new MutationObserver(set).observe(outer, { attributes: true, attributeFilter: ["class"] });
  else system.addEventListener("change", set);
  set();
}

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}
