"""Trains example configs, and puts pictures of theirs together: configs/pictures.png, which the README shows."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tftrain import __version__

ROOT = Path(__file__).resolve().parent.parent
WIDTH, GAP = 1320, 12  # pixels
# Rows from the top: the config of each picture, its name, and the step that it is of.
ROWS = (
    (("numeric", "network", 100), ("island", "decision_map", 2000)),
    (("exploding", "signal_flow", 0), ("sine_rnn", "time_lag", 195)),
    (("numeric", "difference_error", 100), ("dying_relu", "curves", 225)),
    tuple(
        (config, "loss_surface", 500)
        for config in ("momentum_plain", "momentum", "momentum_adam")
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/pictures", description=__doc__
    )
    parser.add_argument(
        "--version", action="version", version=f"tftrain {__version__}"
    )
    parser.add_argument(
        "out",
        nargs="?",
        type=Path,
        default=ROOT / "configs" / "pictures.png",
        metavar="FILE.png",
    )
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        for config in dict.fromkeys(
            config for row in ROWS for config, _, _ in row
        ):
            train(config, Path(folder) / config)
        rows = [
            row_of([read(Path(folder), *picture) for picture in row])
            for row in ROWS
        ]
    below_each_other(rows).save(out, optimize=True)
    print(out)
    return 0


def train(config: str, folder: Path) -> None:
    """Train an example; one that ends with a NaN, as is its point, has its pictures too.

    Raises:
        RuntimeError: it drew none.
    """
    command = [
        sys.executable,
        "-m",
        "tftrain",
        "--config",
        f"configs/{config}.yaml",
        "--run-dir",
        str(folder),
    ]
    print(config, flush=True)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if not (folder / "pictures").is_dir():
        raise RuntimeError(f"{' '.join(command)} drew nothing:\n{done.stderr}")


def read(folder: Path, config: str, name: str, step: int) -> Image.Image:
    return Image.open(
        folder / config / "pictures" / f"{name}-{step:08d}.png"
    ).convert("RGB")


def row_of(pictures: list[Image.Image]) -> Image.Image:
    """Pictures side by side, all as high as each other, over the whole width."""
    shapes = [picture.width / picture.height for picture in pictures]
    height = round((WIDTH - GAP * (len(pictures) - 1)) / sum(shapes))
    row, left = Image.new("RGB", (WIDTH, height), "white"), 0
    for picture, shape in zip(pictures, shapes, strict=True):
        row.paste(
            picture.resize(
                (round(shape * height), height), Image.Resampling.LANCZOS
            ),
            (left, 0),
        )
        left += round(shape * height) + GAP
    return row


def below_each_other(rows: list[Image.Image]) -> Image.Image:
    sheet, top = (
        Image.new(
            "RGB", (WIDTH, sum(row.height + GAP for row in rows) - GAP), "white"
        ),
        0,
    )
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + GAP
    return sheet


if __name__ == "__main__":
    sys.exit(main())
