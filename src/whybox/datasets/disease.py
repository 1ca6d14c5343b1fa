"""Messages of patients about their symptoms, which the disease causes: an anticausal data set, from the published structural equations."""

from __future__ import annotations

from whybox.datasets._concept_data import ConceptData, sample
from whybox.datasets._render import Phrases
from whybox.datasets._scm import StructuralModel, Variable

_LEVELS = ("absent", "mild", "strong")
_MODEL = StructuralModel(
    variables=(
        Variable("disease", ("migraine", "sinusitis", "influenza"), noise=(1.0, 1.0, 1.0), description="the diagnosis"),
        Variable("dizzy", _LEVELS, ("disease",), lambda p, e: 0.9 * (p["disease"] == 0) + e, (-0.1, 0.6), "dizziness"),
        Variable("light", _LEVELS, ("disease",), lambda p, e: 0.9 * (p["disease"] == 0) + e, (0.2, 0.5), "sensitivity to light"),
        Variable(
            "nasal",
            _LEVELS,
            ("disease",),
            lambda p, e: 0.7 * (p["disease"] == 1) + 0.4 * (p["disease"] == 2) + e,
            (0.0, 0.7),
            "blocked or running nose",
        ),
        Variable("facial", _LEVELS, ("disease",), lambda p, e: 0.8 * (p["disease"] == 1) + e, (0.2, 0.6), "pain or pressure in the face"),
        Variable(
            "fever", _LEVELS, ("disease",), lambda p, e: 0.4 * (p["disease"] == 1) + 0.6 * (p["disease"] == 2) + e, (0.0, 0.6), "fever"
        ),
        Variable("weak", _LEVELS, ("disease",), lambda p, e: 0.7 * (p["disease"] == 2) + e, (0.2, 0.6), "weakness"),
        Variable(
            "headache",
            _LEVELS,
            ("disease", "light", "nasal"),
            lambda p, e: 0.7 * (p["disease"] == 0) + 0.4 * (p["disease"] == 1) + 0.3 * p["light"] + 0.3 * p["nasal"] + e,
            (-0.1, 0.5),
            "headache",
        ),
    ),
    outcome="disease",
)
_SENTENCES = {
    "dizzy": (
        ("I am not dizzy.", "I stand on firm ground.", "No spinning so far."),
        ("I am a little dizzy.", "The ground sways a bit when I get up.", "Now and then things spin for a moment."),
        ("I am very dizzy.", "The ground sways all the time.", "Everything spins as soon as I get up."),
    ),
    "light": (
        ("Light does not bother me.", "I sit at the sunny window with pleasure.", "Lamps are no problem."),
        ("Light bothers me a little.", "I moved away from the sunny window.", "Lamps are slightly unpleasant."),
        ("Light is unbearable.", "I have closed every blind at the sunny window.", "Lamps make me cover my eyes."),
    ),
    "nasal": (
        ("My nose is free.", "I breathe through the nose without trouble.", "I need no handkerchief."),
        ("My nose runs a little.", "I breathe through the nose with some trouble.", "A handkerchief lasts me all day."),
        ("My nose is completely blocked.", "I cannot breathe through the nose.", "I use one handkerchief after the other."),
    ),
    "facial": (
        ("My face does not hurt.", "Pressing on my cheeks is fine.", "No pressure around the eyes."),
        ("My face hurts a little.", "Pressing on my cheeks is unpleasant.", "There is some pressure around the eyes."),
        ("My face hurts badly.", "I cannot bear to touch my cheeks.", "There is heavy pressure around the eyes."),
    ),
    "fever": (
        ("I have no fever.", "The thermometer shows nothing unusual.", "My forehead is cool."),
        ("I have a slight fever.", "The thermometer shows a little above normal.", "My forehead is warm."),
        ("I have a high fever.", "The thermometer shows far above normal.", "My forehead is burning."),
    ),
    "weak": (
        ("I have my usual strength.", "The stairs are as easy as ever.", "I went for my walk today."),
        ("I am a bit weaker than usual.", "The stairs are harder than they were.", "I cut my walk short today."),
        ("I have no strength at all.", "The stairs are out of the question.", "I could not even think of my walk today."),
    ),
    "headache": (
        ("I have no headache.", "My head is clear.", "Nothing hurts behind my forehead."),
        ("I have a slight headache.", "My head is a bit heavy.", "There is a dull ache behind my forehead."),
        ("I have a terrible headache.", "My head feels as if it would burst.", "It hammers behind my forehead."),
    ),
}
_OPENINGS = (
    "Good morning, doctor.",
    "I would like an appointment.",
    "It began two days ago.",
    "My husband says I should write to you.",
    "I have been at home since Monday.",
    "A short message before the weekend.",
    "Here is how I feel today.",
)
_ENDINGS = (
    "What do you advise?",
    "Should I come by?",
    "I take no medicine at the moment.",
    "Please call me back.",
    "My children are well.",
    "Thank you for your time.",
    "I can be reached all day.",
)


def disease(n: int = 1000, *, seed: int = 0) -> ConceptData:
    """Messages about symptoms; the outcome is their cause: migraine, sinusitis or influenza.

    Args:
        n: number of texts. Default 1000.
        seed: of noise and wording. Default 0.

    Returns:
        The data. Equations: LIBERTy (arXiv 2601.10700), second numbers of N(., .) read as standard deviations; texts are ours.

    Example:
        >>> disease(5).graph.effects("nasal")
        ('headache',)
    """
    return sample("disease", _MODEL, Phrases(_SENTENCES, _OPENINGS, _ENDINGS), n, seed)
