"""Makes captions like a model's, and questions whose right caption is known."""

from __future__ import annotations

from random import Random

from tools.index.entries import IndexEntry

WHO = "man woman boy girl chef cyclist nurse driver dancer dog cat horse waiter singer pilot farmer clerk child".split()
LOOKS = "tall young old tired smiling bearded barefoot hooded elegant soaked".split()
COLOURS = "red green blue yellow black white grey purple orange brown pink silver".split()
THINGS = "umbrella suitcase guitar bicycle ladder basket camera hat coat bottle book kite bucket lamp phone".split()
DOES = "carries opens drops lifts cleans repairs hides throws paints unfolds pushes points at".split()
WHERE = "kitchen station harbour forest market library garage rooftop bridge classroom stadium tunnel garden".split()
WHEN = ["at night", "in the rain", "in bright sun", "at dusk", "in thick fog", "as a crowd passes", "by candlelight"]
FIRST = (
    "Ada Bela Chidi Dana Emeka Farah Goran Hana Imre Jin Kofi Lena Mika Noor Otto Priya Quinn Rosa Sami Tove".split()
)
LAST = "Okonkwo Lindqvist Moreau Tanaka Herrera Novak Adeyemi Kowalski Yildiz Sorensen Petrov Haddad".split()
_INFLECTED = {"carries": "carrying", "opens": "opening", "drops": "dropping", "lifts": "lifting", "paints": "painting"}


def caption(rng: Random) -> tuple[str, str, str]:
    """A caption; words that ask for it, in another order and form; and a number or a name in it, or nothing."""
    who, look, colour, thing = rng.choice(WHO), rng.choice(LOOKS), rng.choice(COLOURS), rng.choice(THINGS)
    does, where, when = rng.choice(DOES), rng.choice(WHERE), rng.choice(WHEN)
    text = f"A {look} {who} {does} a {colour} {thing} in the {where} {when}."
    asked = f"{colour} {thing}, {_INFLECTED.get(does, does)}: {where}s, {look} {who}, {when.split()[-1]}"
    mark = ""
    if rng.random() < 0.02:
        mark = rng.choice([f"{rng.randrange(1000, 99999)}", f"{rng.choice(FIRST)} {rng.choice(LAST)}"])
        text += f" A sign reads {mark}."
    return text, asked, mark


def captioned_video(lines: int, rng: Random) -> tuple[list[IndexEntry], list[tuple[str, str]], list[tuple[str, str]]]:
    """Captions of a video, and (question, id) pairs that ask by words and by a number or a name."""
    made, asked, marked = [], [], []
    for number in range(lines):
        text, question, mark = caption(rng)
        made.append(IndexEntry(f"c:10:{number}", number * 10.0, number * 10.0 + 10.0, text, "caption", 10.0))
        asked.append((question, made[-1].id))
        marked += [(f"where is the sign with {mark}?", made[-1].id)] if mark else []
    return made, asked, marked
