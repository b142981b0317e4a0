"""Writes throws.csv: how far balls fly that are thrown through air, computed from the laws of motion.

A ball of mass m and diameter d is thrown at a speed and an angle from some height. Gravity pulls it down, and the air
holds it back with ½ · ρ · c · A · v² (ρ = 1.2 kg/m³, c = 0.47, A = π d²/4). Steps of a millisecond, midpoint rule.

    python specs/data/make_throws.py
"""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

BALLS = {"shot": (7.26, 0.120), "golf": (0.0459, 0.0427), "tennis": (0.058, 0.067), "table tennis": (0.0027, 0.040)}
GRAVITY, AIR, DRAG, STEP = 9.81, 1.2, 0.47, 0.001


def distance(ball: str, speed: float, angle: float, height: float) -> float:
    """Metres from the hand to where the ball meets the ground."""
    mass, diameter = BALLS[ball]
    hold = 0.5 * AIR * DRAG * math.pi * diameter**2 / 4 / mass
    x, y = 0.0, height
    vx, vy = speed * math.cos(math.radians(angle)), speed * math.sin(math.radians(angle))
    while True:
        v = math.hypot(vx, vy)
        mx, my = vx - hold * v * vx * STEP / 2, vy - (GRAVITY + hold * v * vy) * STEP / 2
        v = math.hypot(mx, my)
        vx, vy = vx - hold * v * mx * STEP, vy - (GRAVITY + hold * v * my) * STEP
        if y + my * STEP < 0:
            return x + mx * STEP * y / (-my * STEP)
        x, y = x + mx * STEP, y + my * STEP


def main() -> None:
    """Write 800 throws, the balls in turn."""
    draw = random.Random(1)  # noqa: S311  (throws need no secrecy)
    with open(Path(__file__).with_name("throws.csv"), "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["ball", "speed", "angle", "height", "distance"])
        for i in range(800):
            ball = list(BALLS)[i % len(BALLS)]
            speed, angle, height = (
                round(draw.uniform(*limits), digits) for limits, digits in (((4, 24), 1), ((5, 80), 0), ((0.5, 2.2), 2))
            )
            rows.writerow([ball, speed, int(angle), height, f"{distance(ball, speed, angle, height):.2f}"])


if __name__ == "__main__":
    main()
