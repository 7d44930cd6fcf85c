
// What is under the pointer, in numbers; the report is whole without it.
const SHADES = 253; // of the scale of gradient norms
const hover = document.getElementById("hover");
const numbers = (text) => text.split(" ").map(Number);
const brief = (value) => {
  const plain = value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5);
  return plain ? String(Number(value.toPrecision(3))) : value.toExponential(2).replace("e+", "e");
};

function curves(svg, share) {
  const [first, last, left, width] = numbers(svg.dataset.x);
  const [low, high, start, length, logarithmic] = numbers(svg.dataset.y);
  const at = share * svg.viewBox.baseVal.width;
  const lines = [...svg.querySelectorAll("g[data-label]")].flatMap((curve) => {
    const points = [...curve.firstChild.querySelectorAll("polyline")].flatMap((line) => [...line.points]);
    if (!points.length) return [];
    const near = points.reduce((best, one) => (Math.abs(one.x - at) < Math.abs(best.x - at) ? one : best));
    const step = Math.round(first + ((near.x - left) / width) * (last - first));
    const value = low + ((near.y - start) / length) * (high - low);
    return [`${curve.dataset.label}: ${brief(logarithmic ? 10 ** value : value)} at step ${step}`];
  });
  return lines.join("\n");
}

function cell(image, share, down) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const [column, row] = [Math.floor(share * canvas.width), Math.floor(down * canvas.height)];
  const [first, last] = numbers(image.dataset.steps);
  const layer = image.parentNode.querySelectorAll("li")[row]?.textContent;
  const step = Math.ceil(first + ((column + 1) / canvas.width) * (last - first));
  return layer && `${layer}\nstep ${step}: ${value(context.getImageData(column, row, 1, 1).data)}`;
}

function value(pixel) {
  const [red, green, blue, opaque] = pixel;
  if (!opaque) return "none";
  if (!red && !green && !blue) return "exactly zero";
  if (red === 255 && !green && blue === 255) return "NaN or infinite";
  const { ramp, scale } = document.querySelector(".legend").dataset;
  const anchors = ramp.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const far = Array.from({ length: SHADES }, (_, shade) => {
    const place = (shade / (SHADES - 1)) * (anchors.length - 1);
    const below = Math.min(Math.floor(place), anchors.length - 2);
    const channels = anchors[below].map((from, at) => from + (place - below) * (anchors[below + 1][at] - from));
    return channels.reduce((sum, one, at) => sum + Math.abs(one - pixel[at]), 0);
  });
  const [low, high] = numbers(scale);
  const share = far.indexOf(Math.min(...far)) / (SHADES - 1);
  const sign = share === 0 ? "\u2264 " : share === 1 ? "\u2265 " : "";
  return sign + brief(10 ** (low + share * (high - low)));
}

for (const moved of ["pointermove", "pointerdown"]) document.addEventListener(moved, (event) => {
  const target = event.target.closest?.("svg, .heat img");
  hover.hidden = true;
  if (!target) return;
  const box = target.getBoundingClientRect();
  const [share, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  hover.textContent = target.matches("svg") ? curves(target, share) : cell(target, share, down);
  hover.hidden = !hover.textContent;
  hover.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - hover.offsetWidth - 4))}px`;
  hover.style.top = `${Math.max(4, event.clientY - hover.offsetHeight - 12)}px`;
});
