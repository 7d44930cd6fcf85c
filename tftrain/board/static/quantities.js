// What the map can show. A share is drawn from 0 to 1, everything else as its log10.

export const QUANTITIES = {
  grad_norm: { label: "Raw norm", title: "Gradient norm before clipping" },
  clipped_grad_norm: { label: "Clipped norm", title: "Gradient norm after clipping" },
  update_ratio: { label: "Update ratio", title: "Norm of the update / norm of the weights" },
  weight_norm: { label: "Weight norm", title: "Norm of the weights" },
  zero_grads: { label: "Zero share", title: "Share of zeros in the gradient", share: true },
  dead_units: { label: "Dead share", title: "Share of the layer's ReLUs that give 0 for the whole batch", share: true },
};

// Which rows there are, as indices: all, or of each layer its kernels, which are matrices, and what is largest.
export function rowsOf({ parameters, sizes }, all) {
  const layer = (name) => name.slice(0, name.lastIndexOf("/"));
  const largest = {};
  parameters.forEach((name, index) => {
    largest[layer(name)] = Math.max(largest[layer(name)] ?? 0, sizes[index] ?? 0);
  });
  const chosen = (name, index) => all || /kernel|embedding/.test(name) || sizes[index] === largest[layer(name)];
  return parameters.flatMap((name, index) => (chosen(name, index) ? [index] : []));
}
