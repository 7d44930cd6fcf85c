// What the map can show. A share is drawn from 0 to 1, everything else as its log10.

export const QUANTITIES = {
  grad_norm: { label: "Raw norm", title: "Gradient norm before clipping" },
  clipped_grad_norm: { label: "Clipped norm", title: "Gradient norm after clipping" },
  update_ratio: { label: "Update ratio", title: "Norm of the update / norm of the weights" },
  weight_norm: { label: "Weight norm", title: "Norm of the weights" },
  zero_grads: { label: "Zero share", title: "Share of zeros in the gradient", share: true },
  dead_units: { label: "Dead share", title: "Share of the layer's ReLUs that give 0 for the whole batch", share: true },
};

// Which rows there are, as indices: all, or the kernels, which are the matrices of layers; without one, what is largest in
// its layer.
export function rowsOf({ parameters, sizes }, all) {
  const layer = (name) => name.slice(0, name.lastIndexOf("/"));
  const [named, vector] = [/kernel|embedding/, /bias|gamma|beta|scale/];
  const has = new Set(parameters.filter((name) => named.test(name)).map(layer));
  const largest = {};
  parameters.forEach((name, at) => (largest[layer(name)] = Math.max(largest[layer(name)] ?? 0, sizes[at] ?? 0)));
  const matrix = (name, at) => (has.has(layer(name)) ? named.test(name) : !vector.test(name) && sizes[at] === largest[layer(name)]);
  const every = parameters.map((_, at) => at);
  const chosen = every.filter((at) => all || matrix(parameters[at], at));
  return chosen.length ? chosen : every;
}
