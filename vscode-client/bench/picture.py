"""python bench/picture.py FRAMES OUT.gif: the frames that picture.ts wrote, as one small moving picture."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

WIDTH = 860  # pixels
COLOURS = 64


def main() -> None:
    """Command line."""
    folder, out = map(Path, sys.argv[1:])
    files = sorted(folder.glob("*.png"))
    frames = [Image.open(file).convert("RGB") for file in files]
    height = round(frames[0].height * WIDTH / frames[0].width)
    small = [frame.resize((WIDTH, height), Image.Resampling.LANCZOS) for frame in frames]
    palette = small[len(small) // 2].quantize(
        COLOURS, dither=Image.Dither.NONE
    )  # one for all: what stays is not written again
    images = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in small]
    times = [int(file.stem.partition("-")[2]) for file in files]
    images[0].save(out, save_all=True, append_images=images[1:], duration=times, loop=0, optimize=True, disposal=1)
    print(f"{out}: {len(images)} frames, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
