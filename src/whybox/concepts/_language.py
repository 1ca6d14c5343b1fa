"""Which script and language a text is in, as far as its characters and commonest words tell. None where they do not."""

from __future__ import annotations

import unicodedata
from collections import Counter

from whybox.explanations._words import words

# Frequent words that few of the other languages share.
_COMMON = {
    "English": "the and is was of to it that with for not but this were are have had they you would from which there very",
    "German": "der die das und ist war nicht ein eine mit auf für von den dem sich wir ich aber sehr auch wurde haben zum",
    "French": "le la les et est était pas un une avec pour dans des du nous vous mais très aussi que qui sont ce cette",
    "Spanish": "el los las y es era no una con para del nosotros pero muy también que está fue son este esta por como",
    "Italian": "il gli e è era non una con per della di che sono molto anche questo questa noi ma come abbiamo nel stato",
    "Portuguese": "o os as e é era não uma com para do da nós mas muito também que são este esta foi por como",
    "Dutch": "de het een en is was niet met voor van wij ik maar zeer ook dat die zijn deze werd hebben naar bij",
    "Polish": "i nie jest był była się na z do w że to jak ale bardzo tak po dla przez było są",
}
_WORDS = {name: frozenset(text.split()) for name, text in _COMMON.items()}


def main_script(text: str) -> str | None:
    """The script of most letters, such as "LATIN"; None for a text with few letters."""
    letters = Counter(unicodedata.name(c, "?").split()[0] for c in text if c.isalpha())
    if sum(letters.values()) < 8:
        return None
    return letters.most_common(1)[0][0]


def language(text: str) -> str | None:
    """The language whose commonest words are clearly ahead; None for short texts and others.

    Example:
        >>> language("The food was good and the waiter was not"), language("Das Essen war gut und der Kellner nicht")
        ('English', 'German')
    """
    spoken = [word.casefold() for word in words(text)]
    scores = Counter({name: sum(word in common for word in spoken) for name, common in _WORDS.items()})
    (first, most), (_, second) = scores.most_common(2)
    return first if most >= 3 and most >= 2 * second else None
