import { NONE } from "./api.js";

// What the map can show, and what it says where there is none of it. A share is drawn from 0 to 1, everything else as its
// log10; what is `ofLayers` is the same for all parameters of a layer.
const lacking = "not measured";
export const QUANTITIES = {
  grad_norm: { label: "Raw norm", title: "Gradient norm before clipping", lacking },
  clipped_grad_norm: { label: "Clipped norm", title: "Gradient norm after clipping", lacking },
  update_ratio: { label: "Update ratio", title: "Norm of the update / norm of the weights", lacking },
  weight_norm: { label: "Weight norm", title: "Norm of the weights", lacking },
  zero_grads: { label: "Zero share", title: "Share of zeros in the gradient", share: true, lacking },
  dead_units: {
    label: "Dead share",
    title: "Share of the layer's ReLUs that give 0 for the whole batch",
    share: true,
    ofLayers: true,
    lacking: "no ReLU",
  },
};

const layer = (name) => name.slice(0, name.lastIndexOf("/"));

// The rows of a quantity of layers: one for each layer that has it; those of `rowsOf` where none has.
export function layerRows(facts, { values }, all) {
  const [found, seen] = [[], new Set()];
  facts.parameters.forEach((name, row) => {
    if (seen.has(layer(name)) || !values[row]?.some((value) => value !== NONE)) return;
    seen.add(layer(name));
    found.push(row);
  });
  return found.length ? found : rowsOf(facts, all);
}

// Which rows there are, as indices: all, or the kernels, which are the matrices of layers; without one, what is largest in
// its layer.
export function rowsOf({ parameters, sizes }, all) {
  const [named, vector] = [/kernel|embedding/, /bias|gamma|beta|scale/];
  const has = new Set(parameters.filter((name) => named.test(name)).map(layer));
  const largest = {};
  parameters.forEach((name, at) => (largest[layer(name)] = Math.max(largest[layer(name)] ?? 0, sizes[at] ?? 0)));
  const matrix = (name, at) => (has.has(layer(name)) ? named.test(name) : !vector.test(name) && sizes[at] === largest[layer(name)]);
  const every = parameters.map((_, at) => at);
  const chosen = every.filter((at) => all || matrix(parameters[at], at));
  return chosen.length ? chosen : every;
}

// How a run is called: one that TensorBoard was given alone has no name.
export const called = (run) => (run === "." ? "this run" : run);
