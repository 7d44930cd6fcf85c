"""Which way a logged scalar gets better."""

from __future__ import annotations

import re

# Loss and error come first: `auc_loss` is a loss.
_LOWER = re.compile(
    r"loss|error|divergence|entropy|norm|false_(posi|nega)tives", re.IGNORECASE
)
_HIGHER = re.compile(
    r"accuracy|precision|recall|sensitivity|specificity|similarity|f_?beta|jaccard|kappa|psnr|ssim|bleu|rouge"
    r"|correlation|true_(posi|nega)tives|(^|[/_])(mean_|binary_)?(acc|auc|f1|r2|iou|io_?u|dice|map|ndcg|mrr|pearson|reward)"
    r"([/_\d]|$)",
    re.IGNORECASE,
)


def metric_mode(name: str, mode: str = "auto") -> str:
    """Return whether a smaller or a larger value of a scalar is better.

    Args:
        name: that of the scalar, such as `val_loss`.
        mode: what the config says: `min`, `max`, or `auto` for what the name tells.

    Returns:
        "min" or "max".
    """
    if mode != "auto":
        return mode
    return "max" if _HIGHER.search(name) and not _LOWER.search(name) else "min"
