"""The pictures of the pages: every spec is run, and its curves are drawn into docs/pictures.

python benchmarks/pictures.py [--mnist DIR] [--fashion DIR] [NAME ...]

With real MNIST and Fashion-MNIST where they are available; otherwise the pictures say that digits replace them. It
takes a few minutes, most of it for tiny_gpt.nn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from PIL import Image

import nnspec
from nnspec.data.source import Access
from nnspec.data.toy import Spirals
from nnspec.results.run import RunResult

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/pictures"
WIDTH = 1100
"""Pixels."""


def main() -> None:
    """Run the specs, all or those named, and write a picture and print the results of each."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("names", nargs="*", metavar="NAME", help="specs to run, such as lenet; all by default")
    options.add_argument("--mnist", type=Path, metavar="DIR")
    options.add_argument("--fashion", type=Path, metavar="DIR")
    given = options.parse_args()
    PICTURES.mkdir(exist_ok=True)
    for name in given.names or sorted(path.stem for path in ROOT.glob("specs/*.nn")):
        start = time.perf_counter()
        spec = ROOT / f"specs/{name}.nn"
        text = spec.read_text(encoding="utf-8")
        data_dir = given.fashion if "FashionMNIST" in text else given.mnist if "MNIST" in text else None
        with tempfile.TemporaryDirectory() as folder:
            result = nnspec.run(spec, out=folder, data_dir=data_dir)
            reduce(Path(folder, "curves.png"), PICTURES / f"{name}.png")
        if name == "spirals":
            draw_regions(result, PICTURES / "spirals-regions.png")
        print(result, f"{time.perf_counter() - start:.1f} s\n", sep="\n", flush=True)


def draw_regions(result: RunResult, path: Path) -> None:
    """Draw which class each network gives to each point of the plane, and the points that it was trained on."""
    sample = Spirals(train=900, test=300, classes=3).load(Access(offline=True)).train
    figure, axes = plt.subplots(1, len(result), figsize=(4 * len(result), 4), layout="constrained")
    reach = float(np.abs(sample.x).max()) * 1.1
    along = np.linspace(-reach, reach, 300)
    grid = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
    colours = ListedColormap(["#0072b2", "#d55e00", "#009e73"])
    for axis, (name, lane) in zip(axes, result.items(), strict=True):
        classes = lane.predict(grid).reshape(300, 300)
        axis.pcolormesh(along, along, classes, cmap=colours, alpha=0.25)
        axis.scatter(*sample.x.T, c=sample.y, cmap=colours, s=4)
        axis.set(title=f"{name}: test accuracy {lane.final('test_accuracy'):.0%}", aspect="equal", xticks=[], yticks=[])
    figure.savefig(path, dpi=90)
    reduce(path, path)


def reduce(source: Path, target: Path) -> None:
    """Write a copy that is small enough for the repository: fewer pixels, and 256 colours."""
    picture = Image.open(source).convert("RGB")
    picture.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()
