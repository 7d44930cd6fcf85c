"""What each tag of an event file means: TensorBoard shows it beside a chart, and the README has the same table."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache

# Pattern of a tag -> what it means, in Markdown. `*` stands for anything; the first pattern that fits a tag counts.
DESCRIPTIONS = {
    "Overview/loss": (
        "The loss: in training the mean since the last point, of the steps where it is finite; in the run `val` "
        "the mean over the validation examples."
    ),
    "Overview/log10_grad_norm": "log10 of the norm of the whole gradient, all parameters together, before clipping.",
    "Overview/log10_grad_norm_max": (
        "log10 of the largest norm of the whole gradient since the last point, before clipping: no spike hides."
    ),
    "Overview/log10_clipped_grad_norm": "log10 of the norm of the whole gradient after clipping.",
    "Overview/log10_clip_limit*": "log10 of the norm above which the whole gradient is clipped.",
    "Overview/clip_rate": "The share of steps since the last point in which a clip changed the gradient.",
    "Overview/depth_ratio_decades": (
        "log10 of the gradient norm of the first hidden kernel over that of the last: -3 says that a thousandth "
        "arrives at the bottom. There is none with fewer than two hidden layers."
    ),
    "Overview/p??_log10_absgrad": (
        "A percentile (5, 50 or 95) of log10 &#124;gradient&#124; over the numbers of all parameters, without "
        "those that are exactly 0."
    ),
    "Overview/learning_rate": "The learning rate of the step, after warm-up and schedule.",
    "Overview/step_ms": "Milliseconds of the clock for each step since the last point.",
    "Overview/nonfinite_steps": (
        "How many steps since the last point had a loss or a gradient that is NaN or infinite."
    ),
    "Overview/*": (
        "A metric that the config names, or a scalar of your own: in training over the examples since the last point, "
        "in the run `val` over those of validation. One that counts, such as `true_positives`, is the sum over them, "
        "so in training it goes by how far apart points are."
    ),
    "transforms/clip/*/log10_norm_before": (
        "log10 of the gradient norm that a clip is given, over the parameters it is for."
    ),
    "transforms/clip/*/log10_norm_after": (
        "log10 of the gradient norm that a clip leaves, over the parameters it is for."
    ),
    "transforms/clip/*/factor": "The norm after a clip over the norm before it: 1 where it changed nothing.",
    "transforms/clip/*/rate": "The share of steps since the last point in which this clip changed the gradient.",
    "transforms/clip/*/limit": "The limit of a clip at this step.",
    "transforms/*": "What a transform of the gradients, one of your own, tells of itself.",
    "log10_grad_norm/*": (
        "log10 of the gradient norm of one parameter, before clipping; layers are numbered by depth."
    ),
    "log10_clipped_grad_norm/*": "log10 of the gradient norm of one parameter, after clipping.",
    "grad_hist_log10/*": (
        "Histogram of log10 &#124;gradient&#124; of one parameter, before clipping: legible from 1e-38 to 1e+38, "
        "never blanked by a NaN."
    ),
    "grad_hist/*": (
        "Histogram of the gradient of one parameter on the plain axis, where `log.histogram_axis` has `value`."
    ),
    "update_hist_log10/*": (
        "Histogram of log10 &#124;update&#124;, of what a step adds to one parameter, where `log.histograms` has "
        "`updates`."
    ),
    "update_hist/*": (
        "Histogram of what a step adds to one parameter on the plain axis, where `log.histogram_axis` has `value`."
    ),
    "weight_hist/*": "Histogram of the numbers of one parameter, where `log.histograms` has `weights`.",
    "layer_hist/*": (
        "Histogram of the activations of one layer, those of ReLUs without their zeros, where `log.histograms` "
        "has `activations`."
    ),
    "grad_share/*": "The share of one parameter in the squared norm of the whole gradient.",
    "weight_norm/*": "The L2 norm of one parameter, before the update.",
    "log10_update_ratio/*": (
        "log10 of the norm of a step's update over the norm of the parameter: around -3 in a network that learns "
        "well. A parameter that is all 0, as a new bias, has none."
    ),
    "zero_grads/*": "The share of one parameter's gradient that is exactly 0; `all` is all parameters together.",
    "nonfinite_grads/*": (
        "How many numbers of one parameter's gradient are NaN or infinite, where any are; `all` is all parameters "
        "together."
    ),
    "layer_mean/*": "The mean of one layer's activations in this batch.",
    "layer_std/*": "The standard deviation of one layer's activations in this batch.",
    "layer_zeros/*": "The share of a ReLU's outputs that are 0 in this batch.",
    "layer_dead/*": (
        "The share of a ReLU's units (neurons, channels) that are 0 for every example of this batch; with 1 "
        "nothing flows back through the layer."
    ),
    "layer_saturated/*": (
        "The share of a bounded function's outputs (sigmoid, tanh) that lie within 0.05 of a bound, where its "
        "slope is nearly 0."
    ),
    "probes/*": (
        "What a probe of `log.probes` measures, such as `probes/weight/000.output/kernel.0.2`: the weight of row "
        "0 and column 2 before the update, of `{name: weights, only: output, most: 10}`, the first ten of each "
        "parameter."
    ),
    "results/*": (
        "A figure of the table at the end of the run: of the weights in `model.keras`, over a split. HParams shows it."
    ),
    "pictures/*": "A picture that `log.plots` names.",
    "config": "The config as it was resolved, every default filled in.",
    "environment": "Versions, devices, the command line and the git commit.",
    "incidents/*": "What went wrong in a step, and in which layer first.",
    "gradients/*": "All parameters by all that is measured of them, for the Gradients tab.",
    "keras": "The layers of the model, for the Graphs tab.",
    "custom_scalars__config__": "The charts of the Custom Scalars tab.",
    "_hparams_/*": "The settings of the run and how it ended, for the HParams tab.",
}
OWN = "A scalar, histogram, picture or text of a part of your own."


@cache
def description_of(tag: str) -> str:
    """What a tag means, in Markdown."""
    return next(
        (
            text
            for pattern, text in DESCRIPTIONS.items()
            if fnmatchcase(tag, pattern)
        ),
        OWN,
    )


def markdown_rows() -> list[str]:
    """The rows of the README's table of tags."""
    names = {
        pattern: pattern.replace("??", "05").replace("*", "...")
        for pattern in DESCRIPTIONS
    }
    return [
        f"| `{names[pattern]}` | {text} |"
        for pattern, text in DESCRIPTIONS.items()
    ]
