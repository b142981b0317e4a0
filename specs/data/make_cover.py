"""Makes cover.csv: a table with the columns of Covertype (UCI), drawn at random.

A place is described by ten numbers, one of four wilderness areas and one of forty soils. Its kind of forest, 0 to 6,
follows from its elevation, shifted by area and soil, with some noise.
"""

import csv
import random
from pathlib import Path

PLACES = 1000
NUMBERS = {  # the mean and the deviation of each, about as in Covertype
    "Elevation": (2960, 280),
    "Aspect": (155, 110),
    "Slope": (14, 7),
    "Horizontal_Distance_To_Hydrology": (270, 210),
    "Vertical_Distance_To_Hydrology": (46, 58),
    "Horizontal_Distance_To_Roadways": (2350, 1560),
    "Hillshade_9am": (212, 27),
    "Hillshade_Noon": (223, 20),
    "Hillshade_3pm": (143, 38),
    "Horizontal_Distance_To_Fire_Points": (1980, 1320),
}
AREAS = [f"area_type_{number}" for number in range(1, 5)]
SOILS = [f"soil_type_{number}" for number in range(1, 41)]
BORDERS = [2500, 2650, 2800, 2950, 3100, 3250]

rng = random.Random(5)  # noqa: S311  (a table needs no secrecy)
shift = {name: rng.gauss(0, 120) for name in (*AREAS, *SOILS)}

with (Path(__file__).parent / "cover.csv").open("w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow([*NUMBERS, "Wilderness_Area", "Soil_Type", "Cover_Type"])
    for _ in range(PLACES):
        numbers = [max(round(rng.gauss(*mean)), 0) for mean in NUMBERS.values()]
        area, soil = rng.choice(AREAS), rng.choice(SOILS)
        height = numbers[0] + shift[area] + shift[soil] + rng.gauss(0, 60)
        rows.writerow([*numbers, area, soil, sum(height > border for border in BORDERS)])
