"""Makes reviews.csv: short reviews of films, good or bad, put together from phrases that are drawn at random.

A review has one to three opinions, most of which are of its kind; `not` turns the word after it around. So a reader has
to weigh words, and to look at those before them.
"""

import csv
import random
from pathlib import Path

REVIEWS = 700
SUBJECTS = [
    "the plot", "the acting", "the music", "the ending", "the dialogue", "the camera work", "the pace", "the cast",
    "the humour", "the costumes", "the story", "the second half", "the opening scene", "the lead actor",
]  # fmt: skip
GOOD = ["wonderful", "moving", "clever", "funny", "brilliant", "charming", "gripping", "fresh", "warm", "superb"]
BAD = ["dull", "clumsy", "boring", "silly", "awful", "predictable", "flat", "tired", "endless", "lifeless"]
FRAMES = ["{subject} is {word}", "{subject} was {word}", "I found {subject} {word}", "{subject} felt {word} to me"]
BEFORE = ["", "", "", "Honestly, ", "To be fair, ", "After an hour I knew: ", "My sister says "]
AFTER = [".", ".", "!", ", as ever.", ", and that is that.", "."]

rng = random.Random(8)  # noqa: S311  (reviews need no secrecy)


def opinion(good: bool) -> str:
    """Return one opinion, sometimes by way of its opposite."""
    turned = rng.random() < 0.25
    word = rng.choice(GOOD if good != turned else BAD)
    frame = rng.choice(FRAMES)
    return frame.format(subject=rng.choice(SUBJECTS), word=f"{'not ' if turned else ''}{word}")


def review(good: bool) -> str:
    """Return a review with at most one opinion that is not its own."""
    opinions = [opinion(good) for _ in range(rng.randint(1, 3))]
    if len(opinions) == 3 and rng.random() < 0.5:
        opinions[rng.randrange(3)] = opinion(not good)
    text = (
        rng.choice(BEFORE) + (" and ".join(opinions) if len(opinions) < 3 else ", ".join(opinions)) + rng.choice(AFTER)
    )
    return text[0].upper() + text[1:]


if __name__ == "__main__":
    with (Path(__file__).parent / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["review", "kind"])
        for _ in range(REVIEWS):
            good = rng.random() < 0.5
            rows.writerow([review(good), "good" if good else "bad"])
