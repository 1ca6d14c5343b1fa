"""Restaurant reviews from a structural causal model, written so that no single word gives a concept away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whybox.datasets._concept_data import ConceptData, sample
from whybox.datasets._render import SLOTS
from whybox.datasets._scm import StructuralModel, Variable

_GOOD = ("good", "great", "lovely", "excellent", "impressive", "delightful", "fine", "memorable", "wonderful", "superb")
_BAD = ("bad", "poor", "dreadful", "mediocre", "disappointing", "awful", "tired", "forgettable", "terrible", "sloppy")
# Good and bad words stand in sentences of every value, and the same words speak of food, service and room.
_SAYS: tuple[tuple[str, ...], ...] = (
    (
        "{The} was {bad}.",
        "{The} was not {good} at all.",
        "I had hoped for something {good}, but {the} was {bad}.",
        "Nobody could call {the} {good}.",
        "{The} was anything but {good}.",
        "A friend promised that {the} would be {good}; it was {bad}.",
        "{The} was far from {good}, and rather {bad}.",
    ),
    (
        "{The} was {good} at first and {bad} later.",
        "{The} was neither {good} nor {bad}.",
        "Some would say {the} was {bad}, some {good}; I cannot decide.",
        "One moment {the} was {bad}, the next it was {good}.",
        "{The} was not {good}, but not {bad} either.",
        "I have no strong view on whether {the} was {good} or {bad}.",
        "{The} was about as {good} as it was {bad}.",
    ),
    (
        "{The} was {good}.",
        "{The} was not {bad} at all.",
        "I had feared something {bad}, but {the} was {good}.",
        "Nobody could call {the} {bad}.",
        "{The} was anything but {bad}.",
        "A friend warned that {the} would be {bad}; it was {good}.",
        "{The} was far from {bad}, and rather {good}.",
    ),
)
_NOUNS = {
    "food": ("the food", "the cooking", "the meal", "what we ate", "the main course"),
    "service": ("the service", "the waiting staff", "the way we were looked after", "our waiter", "the welcome"),
    "ambiance": ("the atmosphere", "the room", "the setting", "the decor", "the feel of the place"),
}
_PRICE = (
    (
        "We paid little for two.",
        "The bill was smaller than an expensive parking ticket.",
        "It is a cheap place.",
        "Expensive it is not.",
        "Even students on a budget can pay here.",
    ),
    (
        "We paid a lot for two.",
        "The bill was larger than I like to admit.",
        "It is an expensive place.",
        "Cheap it is not.",
        "Students on a budget cannot pay here.",
    ),
)
_RETURN = (
    (
        "I will not be back.",
        "Once was enough, and I would not go again.",
        "Would I go again? Hardly.",
        "My friends said we must come back; I said no.",
        "There are other places to go back to.",
    ),
    (
        "I will be back.",
        "Once was not enough, and I would go again.",
        "Would I go again? Gladly.",
        "My friends said we need not come back; I said we must.",
        "Of all places, this is one to go back to.",
    ),
)
_OPENINGS = (
    "We came on a Friday with my parents.",
    "I had lunch here between two meetings.",
    "My sister chose this place for her birthday.",
    "We walked in without a booking.",
    "Third time in this street, first time at this door.",
    "A colleague took me here after work.",
    "We were four, two of us hungry.",
    "It rained, so we went in.",
)
_ENDINGS = (
    "That is all there is to say.",
    "The tram stops outside.",
    "We left around ten.",
    "Write to me if you have questions.",
    "Parking is behind the house.",
    "My first review in years.",
    "So much for our evening.",
    "Now you know.",
)


class _Review:
    """Writes one review."""

    told = ("price", "food", "service", "ambiance", "return")

    def __call__(self, codes: Mapping[str, int], style: Sequence[int]) -> str:
        said = []
        for position, name in enumerate(self.told):
            voice = style[position * SLOTS : (position + 1) * SLOTS]
            said.append((voice[0], name, _sentence(name, codes[name], voice)))
        frame = style[len(self.told) * SLOTS :]
        middle = [sentence for _, _, sentence in sorted(said)]
        return " ".join([_OPENINGS[frame[0] % len(_OPENINGS)], *middle, _ENDINGS[frame[1] % len(_ENDINGS)]])


def _sentence(name: str, code: int, voice: Sequence[int]) -> str:
    if name in ("price", "return"):
        wordings = (_PRICE if name == "price" else _RETURN)[code]
        return wordings[voice[1] % len(wordings)]
    the = _NOUNS[name][voice[2] % len(_NOUNS[name])]
    pattern = _SAYS[code][voice[1] % len(_SAYS[code])]
    good, bad = _GOOD[voice[3] % len(_GOOD)], _BAD[voice[4] % len(_BAD)]
    return pattern.format(the=the, The=the[0].upper() + the[1:], good=good, bad=bad)


_VALUES = ("Negative", "Mixed", "Positive")
_MODEL = StructuralModel(
    variables=(
        Variable("price", ("cheap", "expensive"), noise=(0.5, 0.5), description="how much a meal costs"),
        Variable("food", _VALUES, ("price",), lambda p, e: 0.5 + 0.9 * p["price"] + e, (0.05, 0.8), "how good the food is"),
        Variable("service", _VALUES, ("price",), lambda p, e: 0.6 + 0.8 * p["price"] + e, (0.0, 0.8), "how good the service is"),
        Variable("ambiance", _VALUES, ("price",), lambda p, e: 0.4 + 1.0 * p["price"] + e, (0.1, 0.8), "how pleasant the place is"),
        Variable(
            "return",
            ("no", "yes"),
            ("food", "service"),
            lambda p, e: 0.4 * p["food"] + 0.2 * p["service"] - 0.1 + e,
            (0.0, 0.25),
            "whether the guest would come again",
        ),
        Variable(
            "rating",
            ("1", "2", "3", "4", "5"),
            ("food", "service", "ambiance", "return", "price"),
            lambda p, e: 0.8 * p["food"] + 0.5 * p["service"] + 0.2 * p["ambiance"] + 1.0 * p["return"] - 0.4 * p["price"] + e,
            (0.2, 0.4),
            "stars",
        ),
    ),
    outcome="rating",
)


def concept_reviews(n: int = 1000, *, seed: int = 0) -> ConceptData:
    """Restaurant reviews with five concepts, a confounder, a mediator and exact counterfactuals.

    ``price`` causes food, service and ambiance (a confounder); food and service cause ``return`` (a mediator), which the text tells; the
    star rating, which it does not tell, follows from all of them.

    Args:
        n: number of texts. Default 1000.
        seed: of noise and wording. Default 0.

    Returns:
        The data; ``labels`` are ratings 0 to 4 for one to five stars.

    Example:
        >>> data = concept_reviews(10, seed=1)
        >>> data.counterfactual([0], {"food": data.values("food")[0]})[0] == data.texts[0]
        True
    """
    return sample("concept_reviews", _MODEL, _Review(), n, seed)
