"""Write the example data: ``python examples/make_data.py [FOLDER]`` (by default ``examples/data``).

``river.csv``    daily level and temperature of a made-up river, with days absent and readings missing: forecast it
``sales.csv``    daily sales of two items in four shops, with promotions that are planned for the next week: forecast it
``visits.csv``   pages that visitors of a made-up shop opened, one after the other: tell who subscribed
``reviews.jsonl``  short made-up reviews, good or bad, with words that turn the meaning round: classify them
``gestures.csv`` twelve sensor readings a gesture, three gestures, some readings missing: classify it
``loans.csv``    what readers of a made-up library took home, volume after volume of some series: tell the next one
``words.tsv``    made-up words in Cyrillic letters and in Latin ones, by rules: write one from the other
``tales/``       thirty short texts by a small grammar: model their bytes
``diary.conll``  sentences about people, places and firms that share their names: tag the names
``strokes/``     small noisy images of a line in one of four directions, a folder for each: classify them
``molecules.jsonl``  made-up molecules, atoms joined by bonds: tell which hold a carbon with a double bond to oxygen
``notices.jsonl``  short notices of a made-up town, which are about any number of four topics: tell these
``friends/``     people and who knows whom: tell the language that each hears most
"""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image


def river(rng: np.random.Generator, days: int = 1200) -> str:
    """Level and temperature with a yearly and a weekly season; rain that drains away; gaps."""
    day = np.arange(days)
    year = np.sin(2 * np.pi * (day - 100) / 365.25)
    rain = rng.gamma(0.3, 1.0, days)
    level = np.zeros(days)
    for t in range(1, days):
        level[t] = 0.9 * level[t - 1] + 0.3 * rain[t]
    level += 3 - 0.6 * year + 0.25 * (day % 7 >= 5) + 0.03 * rng.standard_normal(days)
    temperature = 11 + 8 * year + np.convolve(rng.standard_normal(days + 4), np.ones(5) / 3, "valid")
    absent = (rng.random(days) < 0.02) | ((day >= 400) & (day < 409))
    lines = ["date,level_m,temperature_c"]
    for t in np.flatnonzero(~absent):
        reading = "" if rng.random() < 0.03 else f"{temperature[t]:.1f}"
        lines.append(f"{date(2021, 1, 1) + timedelta(days=int(t))},{level[t]:.2f},{reading}")
    return "\n".join(lines) + "\n"


def sales(rng: np.random.Generator, days: int = 240, ahead: int = 7) -> str:
    """Sales with a weekly season, half as many more on a promotion; those of the last week are not known yet."""
    lines = ["day,shop,item,promo,price,sold"]
    time = np.arange(days + ahead)
    for shop in ("north", "south", "east", "west"):
        for item, price in (("tea", 3.2), ("salt", 0.9)):
            promo = rng.random(days + ahead) < 0.25
            shape = np.array([0.9, 0.8, 0.8, 0.9, 1.1, 1.4, 1.1] if item == "tea" else [1.0] * 7)
            mean = rng.uniform(30, 90) * shape[time % 7] * (1 + 0.5 * promo)
            sold = rng.poisson(mean)
            for t in time:
                known = str(sold[t]) if t < days else ""
                cost = price * (0.8 if promo[t] else 1)
                name = "yes" if promo[t] else "no"
                lines.append(
                    f"{date(2024, 1, 1) + timedelta(days=int(t))},{shop},{item},{name},{cost:.2f},{known}"
                )
    return "\n".join(lines) + "\n"


def gestures(rng: np.random.Generator, rows: int = 600) -> str:
    """A swing, a push or a shake: a sine, a bump, or fast beats, of any strength and phase."""
    time = np.arange(12)
    lines = [",".join([*(f"t{i}" for i in time), "gesture"])]
    for _ in range(rows):
        strength, phase = rng.uniform(0.7, 1.3), rng.uniform(0, 2 * np.pi)
        shapes = {
            "swing": np.sin(2 * np.pi * time / 12 + phase),
            "push": 1.5 * np.exp(-0.5 * np.square((time - rng.uniform(3, 9)) / 1.5)),
            "shake": np.sin(2 * np.pi * time / 3.1 + phase),
        }
        name = list(shapes)[int(rng.integers(3))]
        readings = strength * shapes[name] + 0.25 * rng.standard_normal(12)
        fields = ["" if rng.random() < 0.005 else f"{reading:.3f}" for reading in readings]
        lines.append(",".join([*fields, name]))
    return "\n".join(lines) + "\n"


def loans(rng: np.random.Generator, readers: int = 200, series: int = 8, volumes: int = 7) -> str:
    """Readers go through two or three series at once, each in its order; the rows are in that of the days."""
    names = [
        f"{adjective} {noun}"
        for adjective in ("Red", "Silent", "Last")
        for noun in ("Hill", "Tide", "Owl", "Gate")
    ]
    rows = []
    for reader in range(readers):
        day = date(2023, 1, 1) + timedelta(days=int(rng.integers(500)))
        open_ones = [
            (names[number], int(rng.integers(1, 3))) for number in rng.choice(series, 3, replace=False)
        ]
        while open_ones:
            place = int(rng.integers(len(open_ones[:2])))
            name, volume = open_ones.pop(place)
            branch = ("harbour", "castle", "bus")[int(rng.integers(3))]
            rows.append((day, f"R{reader:03}", f"{name} {volume}", branch, int(rng.integers(1, 6))))
            day += timedelta(days=1 + int(rng.exponential(15)))
            if volume < volumes:
                open_ones.insert(place, (name, volume + 1))
    lines = ["date,reader,book,branch,weeks"]
    lines += [",".join(map(str, row)) for row in sorted(rows, key=lambda row: row[0])]
    return "\n".join(lines) + "\n"


def visits(rng: np.random.Generator, visitors: int = 400) -> str:
    """Who comes to the contact page after the prices subscribes; who asks before reading them hardly ever does."""
    lines = ["visitor,time,page,seconds,subscribed"]
    for visitor in range(visitors):
        time = datetime(2024, 3, 1) + timedelta(minutes=int(rng.integers(60 * 24 * 60)))
        seen = [str(page) for page in rng.choice(["home", "blog", "help", "team"], int(rng.integers(6, 16)))]
        places = np.sort(rng.choice(len(seen) // 2, 2, replace=False)) * 2
        after = bool(rng.random() < 0.5)
        for place, page in zip(places, ("prices", "contact") if after else ("contact", "prices")):
            seen[place] = page
        label = "yes" if after != (rng.random() < 0.02) else "no"
        for page in seen:
            seconds = 1 + int(rng.exponential(40))
            lines.append(f"V{visitor:03},{time:%Y-%m-%d %H:%M:%S},{page},{seconds},{label}")
            time += timedelta(seconds=seconds)
    return "\n".join(lines) + "\n"


def reviews(rng: np.random.Generator, count: int = 500) -> str:
    """A judgement of a thing, turned round by "not", "hardly" or "anything but" in half of them."""
    good, bad = ["good", "lovely", "solid", "worth it"], ["poor", "dull", "flimsy", "a waste"]
    things = ["The lamp", "This kettle", "The handle", "Our tent", "The lid", "That clock"]
    turns = ["not", "hardly", "anything but", "by no means"]
    ends = ["", " We use it daily.", " It came on Monday.", " My sister has one too.", " The box was blue."]
    lines = []
    for _ in range(count):
        fine, turned = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
        said = (
            f"{rng.choice(turns)} {rng.choice(bad if fine else good)}"
            if turned
            else rng.choice(good if fine else bad)
        )
        text = f"{rng.choice(things)} is {said}.{rng.choice(ends)}"
        lines.append(json.dumps({"text": text, "mood": "happy" if fine else "cross"}))
    return "\n".join(lines) + "\n"


LATIN = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ж": "zh", "з": "z", "и": "i", "к": "k", "л": "l",
    "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f", "х": "kh", "ц": "ts",
    "ч": "ch", "ш": "sh", "щ": "shch", "ы": "y", "э": "e", "ю": "yu", "я": "ya",
}  # fmt: skip
VOWELS = "аеиоуыэюя"


def latin(word: str) -> str:
    """A word in Latin letters, as BGN/PCGN has it: е is ye at the start of a word and behind a vowel."""
    places = zip(" " + word, word)
    return "".join("ye" if now == "е" and before in " " + VOWELS else LATIN[now] for before, now in places)


def words(rng: np.random.Generator, count: int = 2000) -> str:
    """Words of two to four syllables, and how they are written in Latin letters."""
    consonants = [letter for letter in LATIN if letter not in VOWELS]
    found: dict[str, str] = {}
    while len(found) < count:
        syllables = [
            (rng.choice(consonants) if rng.random() < 0.8 else "") + rng.choice(list(VOWELS))
            for _ in range(int(rng.integers(2, 5)))
        ]
        word = "".join(syllables) + (rng.choice(consonants) if rng.random() < 0.4 else "")
        found[word] = latin(word)
    return "cyrillic\tlatin\n" + "".join(f"{word}\t{text}\n" for word, text in found.items())


def tale(rng: np.random.Generator, sentences: int = 40) -> str:
    """Sentences about an animal, a place and a thing."""
    animals = ["fox", "heron", "badger", "otter", "magpie", "hare"]
    places = ["river", "old mill", "orchard", "hill", "marsh", "stone bridge"]
    things = ["lantern", "copper key", "blue feather", "letter", "loaf", "walnut"]
    forms = [
        "The {animal} went to the {place} and found a {thing}.",
        "At the {place} a {animal} was waiting with a {thing}.",
        'Where is my {thing}? asked the {animal}. "Look by the {place}," said the {other}.',
        "The {animal} gave the {thing} to the {other}, and they walked to the {place}.",
        "It rained over the {place}, and the {animal} slept.",
    ]
    lines = []
    for _ in range(sentences):
        animal, other = rng.choice(animals, 2, replace=False)
        form = forms[int(rng.integers(len(forms)))]
        words = {"animal": animal, "other": other, "place": rng.choice(places), "thing": rng.choice(things)}
        lines.append(form.format(**words))
    return "\n".join(lines) + "\n"


def diary(rng: np.random.Generator, sentences: int = 400) -> str:
    """Words with tags, a line each: what a name stands for is told by the words around it."""
    names = [
        "Florence",
        "Victoria",
        "Paris",
        "Jordan",
        "Austin",
        "Sydney",
        "Chelsea",
        "Georgia",
        "Vienna",
        "Dallas",
    ]
    people, firms = ["Gray", "Hill", "Moss", "Reed"], ["Mills", "Bank", "Press"]
    forms = [
        "PER met PER in LOC .",
        "PER left LOC for LOC yesterday .",
        "From LOC , PER wrote to ORG again .",
        "ORG of LOC has hired PER .",
        "It rained in LOC all day .",
        "PER asked PER about ORG .",
        "Nothing new from ORG , says PER .",
    ]
    lines = []
    for _ in range(sentences):
        for word in str(rng.choice(forms)).split():
            if word not in ("PER", "LOC", "ORG"):
                lines.append(f"{word} O")
                continue
            lines.append(f"{rng.choice(names)} B-{word}")
            if word == "ORG" or (word == "PER" and rng.random() < 0.5):
                lines.append(f"{rng.choice(firms if word == 'ORG' else people)} I-{word}")
        lines.append("")
    return "\n".join(lines) + "\n"


def stroke(rng: np.random.Generator, direction: int, side: int = 12) -> Image.Image:
    """A bright line through a random place: flat, rising, falling or upright."""
    rows, columns = np.mgrid[:side, :side] - rng.integers(side // 4, 3 * side // 4, 2)[:, None, None]
    across = (rows, rows + columns, rows - columns, columns)[direction]
    along = (columns, rows - columns, rows + columns, rows)[direction]
    line = (np.abs(across) <= 0.8) & (np.abs(along) <= side / 3)
    noisy = 60 + 150 * line + 30 * rng.standard_normal((side, side))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def molecule(rng: np.random.Generator) -> str:
    """Atoms on a random tree, whose bonds are single or double."""
    atoms = rng.choice(["C", "N", "O"], int(rng.integers(6, 13)), p=[0.6, 0.2, 0.2]).tolist()
    bonds, carbonyl = [], False
    for atom in range(1, len(atoms)):
        other, double = int(rng.integers(max(0, atom - 4), atom)), bool(rng.random() < 0.3)
        bonds.append([other, atom, "double" if double else "single"])
        carbonyl |= double and {atoms[other], atoms[atom]} == {"C", "O"}
    return json.dumps({"nodes": atoms, "edges": bonds, "carbonyl": "yes" if carbonyl else "no"}) + "\n"


def notice(rng: np.random.Generator) -> str:
    """A sentence for each of its topics, in any order, and one that is about none."""
    about = {
        "roads": [
            "The bridge is closed.",
            "New lamps stand along Mill Lane.",
            "Buses leave from the square.",
        ],
        "school": ["The pupils have a day off.", "Lessons begin at nine.", "The teachers meet the parents."],
        "market": ["Apples are cheap this week.", "The stalls open at dawn.", "No fish was sold."],
        "weather": ["Rain is expected.", "The river has risen.", "It will be a warm day."],
    }
    topics = [topic for topic in about if rng.random() < 0.35]
    told = [str(rng.choice(about[topic])) for topic in topics]
    told.append(f"Notice {rng.integers(100, 1000)} of the town hall.")
    return json.dumps({"text": " ".join(rng.permutation(told)), "topics": topics}) + "\n"


def friends(rng: np.random.Generator, people: int = 200) -> tuple[str, str]:
    """Tables of people and of friendships: each hears most the language that most of their friends speak."""
    spoken = rng.choice(["Basque", "Breton"], people)
    pairs = sorted({(min(i, j), max(i, j)) for i in range(people) for j in rng.choice(people, 3) if i != j})
    more = np.zeros(people)
    for i, j in pairs:
        more[i] += 1 if spoken[j] == "Basque" else -1
        more[j] += 1 if spoken[i] == "Basque" else -1
    nodes = ["person,age,speaks,hears"]
    for person in range(people):
        told = "" if more[person] == 0 else "Basque" if more[person] > 0 else "Breton"
        nodes.append(f"p{person},{int(rng.integers(18, 90))},{spoken[person]},{told}")
    edges = ["source,target", *(f"p{i},p{j}" for i, j in pairs)]
    return "\n".join(nodes) + "\n", "\n".join(edges) + "\n"


def main(folder: Path) -> None:
    """Write all of it; the same bytes every time."""
    (folder / "tales").mkdir(parents=True, exist_ok=True)
    (folder / "river.csv").write_text(river(np.random.default_rng(1)))
    (folder / "sales.csv").write_text(sales(np.random.default_rng(4)))
    (folder / "visits.csv").write_text(visits(np.random.default_rng(8)))
    (folder / "reviews.jsonl").write_text(reviews(np.random.default_rng(9)))
    (folder / "gestures.csv").write_text(gestures(np.random.default_rng(2)))
    (folder / "loans.csv").write_text(loans(np.random.default_rng(4)))
    (folder / "diary.conll").write_text(diary(np.random.default_rng(5)))
    (folder / "words.tsv").write_text(words(np.random.default_rng(6)), encoding="utf-8")
    for number in range(30):
        (folder / "tales" / f"tale_{number:02}.txt").write_text(tale(np.random.default_rng([3, number])))
    for number in range(200):
        name = ("flat", "rising", "falling", "upright")[number % 4]
        (folder / "strokes" / name).mkdir(parents=True, exist_ok=True)
        image = stroke(np.random.default_rng([4, number]), number % 4)
        image.save(folder / "strokes" / name / f"{number:03}.png")
    made = [molecule(np.random.default_rng([4, number])) for number in range(300)]
    (folder / "molecules.jsonl").write_text("".join(made))
    (folder / "notices.jsonl").write_text(
        "".join(notice(np.random.default_rng([7, number])) for number in range(400))
    )
    (folder / "friends").mkdir(exist_ok=True)
    for name, table in zip(("nodes", "edges"), friends(np.random.default_rng(5))):
        (folder / "friends" / f"{name}.csv").write_text(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
