// What the map can show: what it means, the scale of its colours, and what is usual where a rule of thumb has a source.

import { colourScale } from "./scale.js";

const lacking = "not measured";
const norms = { log: true, low: 1e-8, high: 1e4 };

export const QUANTITIES = {
  update_ratio: {
    label: "Update ratio",
    meaning: "How far a step moves a layer: the norm of its update over the norm of its weights.",
    usual: "Around 10⁻³ is usual while a network learns (CS231n, Stanford); below 10⁻⁴ a layer hardly moves, above 10⁻¹ steps are "
      + "wild (TheDeepChecker, 2022). It also falls at the end of a schedule, and where the loss has come to rest.",
    scale: colourScale({ log: true, low: 1e-8, high: 10, usual: [1e-4, 1e-1], mark: 1e-3 }),
    lacking,
  },
  grad_norm: {
    label: "Gradient",
    meaning: "How strongly the loss pulls at a layer: the L2 norm of its gradient, before clipping.",
    usual: "No size is right by itself: compare the rows. Where the first layers have a thousandth of the last or less, gradients "
      + "vanish on their way (AUTOTRAINER, 2021).",
    scale: colourScale(norms),
    lacking,
  },
  clipped_grad_norm: {
    label: "After clipping",
    meaning: "What the optimizer is given: the L2 norm of a layer's gradient, after clipping.",
    usual: "No size is right by itself: compare the rows, and this with the gradient before clipping.",
    scale: colourScale(norms),
    lacking,
  },
  clip_factor: {
    label: "Clip factor",
    meaning: "What clipping leaves of a layer's gradient: its norm after clipping over its norm before.",
    usual: "1 is not clipped. Where it is far below 1 at nearly every step, the limit sets the size of the steps, and not the learning "
      + "rate.",
    scale: colourScale({ low: 0, high: 1 }),
    lacking,
  },
  weight_norm: {
    label: "Weights",
    meaning: "How large a layer is: the L2 norm of its weights, before the update.",
    usual: "No size is right by itself; it changes slowly in a network that learns, and runs away where training diverges.",
    scale: colourScale({ log: true, low: 1e-3, high: 1e4 }),
    lacking,
  },
  zero_grads: {
    label: "Zero gradients",
    meaning: "The share of a layer's gradient that is exactly 0 in this batch.",
    usual: "From 70 % on ReLUs may be dying (AUTOTRAINER, 2021); inputs that are 0 and rows of an embedding that are not in the batch "
      + "give zeros in a sound network too.",
    scale: colourScale({ low: 0, high: 1, usual: [0, 0.7] }),
    lacking,
  },
  dead_units: {
    label: "Dead units",
    meaning: "The share of a layer's ReLUs that give 0 for every example of this batch, and so get no gradient.",
    usual: "More than half is too many (the limit of SageMaker Debugger's rule DeadRelu).",
    scale: colourScale({ low: 0, high: 1, usual: [0, 0.5] }),
    ofLayers: true,
    lacking: "no ReLU",
  },
  saturated: {
    label: "Saturated",
    meaning: "The share of a layer's outputs of sigmoid, tanh and the like within 0.05 of a bound, where the slope is nearly 0.",
    usual: "More than half is too many (the limit of DeepDiagnosis, 2022), but for an output layer that is sure of its answers.",
    outputMay: true,
    scale: colourScale({ low: 0, high: 1, usual: [0, 0.5] }),
    ofLayers: true,
    lacking: "no sigmoid, tanh",
  },
};

// How a run is called: one that TensorBoard was given alone has no name.
export const called = (run) => (run === "." ? "this run" : run);
