"""Writes weather.csv: four years of days at a made-up place, with weather that passes over it.

The temperature is a yearly wave, and the air that the wind has brought: southern winds bring warm air, which arrives a
day later. Wind and pressure drive each other. They thus say something about tomorrow's temperature that today's
temperature does not.

    python specs/data/make_weather.py
"""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

DAYS = 4 * 365


def main() -> None:
    """Write one row per day."""
    draw = random.Random(1)  # noqa: S311  (weather needs no secrecy)
    south, pressure, air = 0.0, 0.0, 0.0
    with open(Path(__file__).with_name("weather.csv"), "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["temperature", "pressure", "south_wind"])
        for day in range(DAYS):
            air = 0.6 * air + 1.4 * south  # of yesterday's wind
            pressure = 0.75 * pressure - 0.5 * south + draw.gauss(0, 2)
            south = 0.7 * south + 0.25 * pressure + draw.gauss(0, 1)
            season = 10 - 9 * math.cos(2 * math.pi * (day - 20) / 365)
            temperature = season + air + draw.gauss(0, 0.6)
            rows.writerow([f"{temperature:.1f}", f"{1013 + 2 * pressure:.0f}", f"{south:.1f}"])


if __name__ == "__main__":
    main()
