"""Makes ratings.csv: how 60 users rated some of 40 films, from tastes that are drawn at random.

Each user has a taste and each film a character, two numbers each. A rating is 3, plus a user's and a film's own
tendency, plus the product of taste and character, with some noise, in half stars from 0.5 to 5.
"""

import csv
import random
from pathlib import Path

USERS, FILMS, RATINGS = 60, 40, 1500
FIRST = ["Silver", "Last", "Silent", "Golden", "Broken"]
SECOND = ["River", "Garden", "Letter", "Harbour", "Winter", "Mirror", "Road", "Island"]
GENRES = ["comedy", "drama", "thriller", "western"]

rng = random.Random(4)  # noqa: S311  (ratings need no secrecy)
films = [f"{first} {second}" for first in FIRST for second in SECOND]
users = [f"u{number:02}" for number in range(USERS)]
genre = {film: rng.choice(GENRES) for film in films}
year = {film: rng.randint(1950, 2020) for film in films}
own = {name: rng.gauss(0, 0.5) for name in (*users, *films)}
taste = {name: (rng.gauss(0, 1), rng.gauss(0, 1)) for name in (*users, *films)}

pairs = rng.sample([(user, film) for user in users for film in films], RATINGS)
with (Path(__file__).parent / "ratings.csv").open("w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["user", "film", "genre", "year", "rating"])
    for user, film in pairs:
        product = sum(a * b for a, b in zip(taste[user], taste[film], strict=True))
        stars = 3 + own[user] + own[film] + 0.8 * product + rng.gauss(0, 0.3)
        rows.writerow([user, film, genre[film], year[film], min(max(round(2 * stars) / 2, 0.5), 5.0)])
