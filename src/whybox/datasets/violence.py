"""Reports of hospital staff about violence at work, from the published structural equations."""

from __future__ import annotations

from whybox.datasets._concept_data import ConceptData, sample
from whybox.datasets._render import Phrases
from whybox.datasets._scm import StructuralModel, Variable

_THREE = ("low", "medium", "high")
_MODEL = StructuralModel(
    variables=(
        Variable("sex", ("male", "female"), noise=(0.5, 0.5), description="sex of the writer"),
        Variable("age", ("young", "middle", "old"), noise=(0.25, 0.5, 0.25), description="age of the writer"),
        Variable(
            "role", ("aide", "nurse", "therapist", "physician"), noise=(0.25, 0.25, 0.25, 0.25), description="the writer's profession"
        ),
        Variable("tenure", ("short", "some", "long"), ("age",), lambda p, e: 0.8 * p["age"] + e, (0.05, 0.5), "years in this hospital"),
        Variable(
            "training",
            ("none", "basic", "advanced"),
            ("sex", "role", "age"),
            lambda p, e: 0.3 * p["sex"] + 0.3 * p["role"] + 0.2 * p["age"] + e,
            (0.0, 0.5),
            "training in calming people down",
        ),
        Variable(
            "exposure",
            ("rare", "weekly", "daily", "constant"),
            ("sex", "role"),
            lambda p, e: 0.5 * p["sex"] + 0.4 * p["role"] + 0.4 + e,
            (0.2, 0.5),
            "how often the writer works with agitated patients",
        ),
        Variable(
            "standing",
            ("none", "little", "solid", "strong"),
            ("age", "sex", "role", "tenure", "training"),
            lambda p, e: 0.4 * p["age"] + 0.1 * (p["sex"] + p["role"]) + 0.3 * (p["tenure"] + p["training"]) + e,
            (0.0, 0.5),
            "the respect that the writer has in the team",
        ),
        Variable(
            "violence",
            ("none", "verbal", "physical"),
            ("sex", "exposure", "age", "role", "training", "tenure", "standing"),
            lambda p, e: (
                0.5 * (p["sex"] + p["exposure"]) - 0.2 * (p["age"] + p["role"] + p["training"] + p["tenure"] + p["standing"]) + 0.8 + e
            ),
            (0.3, 0.2),
            "what happened",
        ),
    ),
    outcome="violence",
)
_SENTENCES = {
    "sex": (
        ("I am a man.", "As a man I am often asked to lift.", "My daughter calls me the night dad."),
        ("I am a woman.", "As a woman I am often asked to smile.", "My daughter calls me the night mum."),
    ),
    "age": (
        ("I left school not long ago.", "Most colleagues could be my parents.", "I am in my twenties."),
        ("I am in my forties.", "I am neither the youngest nor the oldest here.", "Half of my working life is behind me."),
        ("I will retire soon.", "Most colleagues could be my children.", "I am past sixty."),
    ),
    "role": (
        ("I work as an aide.", "I wash and feed patients, as aides do.", "On paper I am a care assistant."),
        ("I work as a nurse.", "I am one of the nurses.", "On paper I am a registered nurse."),
        ("I work as a therapist.", "I help patients to walk again.", "On paper I am a physiotherapist."),
        ("I work as a physician.", "I am one of the doctors.", "On paper I am a house physician."),
    ),
    "tenure": (
        ("I joined this hospital this year.", "I still look for the right corridor.", "My badge is new."),
        ("I have been in this hospital for some years.", "I know most corridors by now.", "My badge has its scratches."),
        ("I have been in this hospital for decades.", "I remember when these corridors were built.", "My badge is older than the logo."),
    ),
    "training": (
        (
            "Nobody ever taught me how to calm people down.",
            "De-escalation is a word from posters to me.",
            "I had no course on tense situations.",
        ),
        (
            "I had a short course on calming people down.",
            "I know the first steps of de-escalation.",
            "One afternoon we practised tense situations.",
        ),
        (
            "I teach others how to calm people down.",
            "I hold the advanced certificate in de-escalation.",
            "I have years of practice in tense situations.",
        ),
    ),
    "exposure": (
        ("I seldom meet agitated patients.", "My corridor is a quiet one.", "Weeks go by without a raised voice."),
        ("Every week brings an agitated patient.", "My corridor is quiet on most days.", "Raised voices are a matter of Fridays."),
        ("Every day brings an agitated patient.", "My corridor is rarely quiet.", "No shift passes without a raised voice."),
        ("I work among agitated patients all the time.", "My corridor is never quiet.", "Raised voices are the sound of my work."),
    ),
    "standing": (
        ("Nobody in the team listens to me.", "In meetings I am overlooked.", "My word counts for nothing."),
        ("Few in the team listen to me.", "In meetings I get a minute.", "My word counts a little."),
        ("Many in the team listen to me.", "In meetings I am heard.", "My word counts."),
        ("The whole team listens to me.", "In meetings I speak first.", "My word is what counts."),
    ),
}
_OPENINGS = (
    "You asked me to write about my work.",
    "This is for the staff survey.",
    "I fill this in after a night shift.",
    "A few lines, as requested.",
    "Let me introduce myself for the report.",
    "I was given this form by my ward.",
)
_ENDINGS = (
    "You may quote this without my name.",
    "I hope this helps.",
    "Please call if something is unclear.",
    "More I cannot say in a form.",
    "Thank you for reading.",
    "Back to work now.",
)


def workplace_violence(n: int = 1000, *, seed: int = 0) -> ConceptData:
    """Reports of hospital staff; the outcome is the violence met: none, verbal or physical.

    Args:
        n: number of texts. Default 1000.
        seed: of noise and wording. Default 0.

    Returns:
        The data. Equations: LIBERTy (arXiv 2601.10700), second numbers of N(., .) read as standard deviations; names of the variables and
        all texts are ours.

    Example:
        >>> workplace_violence(5).model.outcome
        'violence'
    """
    return sample("workplace_violence", _MODEL, Phrases(_SENTENCES, _OPENINGS, _ENDINGS), n, seed)
