"""Short letters of application, from the published structural equations of CV screening."""

from __future__ import annotations

from whybox.datasets._concept_data import ConceptData, sample
from whybox.datasets._render import Phrases
from whybox.datasets._scm import StructuralModel, Variable

_MODEL = StructuralModel(
    variables=(
        Variable("region", ("north", "east", "south", "west"), noise=(0.25, 0.25, 0.25, 0.25), description="where the applicant lives"),
        Variable("sex", ("male", "female"), noise=(0.5, 0.5), description="sex of the applicant"),
        Variable("age", ("young", "middle", "old"), noise=(0.25, 0.5, 0.25), description="age of the applicant"),
        Variable(
            "education",
            ("school", "apprenticeship", "bachelor", "master"),
            ("region", "age", "sex"),
            lambda p, e: 0.4 * (p["region"] + p["age"] + p["sex"]) + e,
            (0.35, 0.5),
            "highest education",
        ),
        Variable(
            "security",
            ("tight", "modest", "comfortable"),
            ("education", "age"),
            lambda p, e: 0.45 * p["education"] + 0.25 * p["age"] + e,
            (0.25, 0.35),
            "the applicant's means",
        ),
        Variable(
            "experience",
            ("none", "some", "much"),
            ("age", "education"),
            lambda p, e: 0.5 * p["age"] + 0.3 * p["education"] + e,
            (0.0, 0.5),
            "experience at work",
        ),
        Variable(
            "volunteering",
            ("no", "yes"),
            ("education", "security"),
            lambda p, e: 0.2 * p["education"] + 0.3 * p["security"] + e,
            (-0.35, 0.2),
            "voluntary work",
        ),
        Variable(
            "certificates",
            ("no", "yes"),
            ("education", "experience"),
            lambda p, e: 0.15 * (p["education"] + p["experience"]) + e,
            (0.0, 0.3),
            "further certificates",
        ),
        Variable(
            "quality",
            ("weak", "fair", "strong"),
            ("education", "volunteering", "certificates", "experience"),
            lambda p, e: 0.3 * (p["education"] + p["volunteering"] + p["certificates"] + p["experience"]) + e,
            (0.0, 0.3),
            "the application's quality",
        ),
    ),
    outcome="quality",
)
_SENTENCES = {
    "region": (
        ("I live in the north.", "I write to you from the northern coast.", "My home is up in the north."),
        ("I live in the east.", "I write to you from the eastern plain.", "My home is out in the east."),
        ("I live in the south.", "I write to you from the southern hills.", "My home is down in the south."),
        ("I live in the west.", "I write to you from the western valley.", "My home is over in the west."),
    ),
    "sex": (
        ("I am a man.", "I am the father of a small dog.", "My nephews call me uncle."),
        ("I am a woman.", "I am the mother of a small dog.", "My nephews call me aunt."),
    ),
    "age": (
        ("I am in my twenties.", "I am at the beginning of my working life.", "I was born in this century."),
        ("I am in my forties.", "I am in the middle of my working life.", "I was born in the eighties."),
        ("I am in my sixties.", "I am near the end of my working life.", "I was born when television was black and white."),
    ),
    "education": (
        ("I left school at sixteen.", "School is all the formal education I have.", "I have no degree and no apprenticeship."),
        ("I learnt a trade.", "After school I finished an apprenticeship.", "I have no degree but an apprenticeship."),
        ("I hold a bachelor's degree.", "After school I spent three years at a university.", "I have a first degree."),
        ("I hold a master's degree.", "After school I spent five years at a university.", "I have a second degree as well."),
    ),
    "security": (
        ("Money is tight.", "I count every coin.", "At the end of the month little is left."),
        ("I get by.", "I need not count every coin.", "At the end of the month something is left."),
        ("Money is no worry.", "I never count coins.", "At the end of the month much is left."),
    ),
    "experience": (
        ("I have not worked in this field.", "This would be my first post of the kind.", "What the work is like I have yet to learn."),
        (
            "I have worked in this field for a while.",
            "This would be my second post of the kind.",
            "What the work is like I have begun to learn.",
        ),
        (
            "I have worked in this field for many years.",
            "This would be my fifth post of the kind.",
            "What the work is like I have long learnt.",
        ),
    ),
    "volunteering": (
        ("I do no voluntary work.", "My evenings are my own.", "I belong to no association."),
        ("I do voluntary work.", "Two evenings a week I help at the food bank.", "I lead the youth group of an association."),
    ),
    "certificates": (
        ("I hold no certificates beyond that.", "I have taken no further courses.", "There is no further diploma on my wall."),
        (
            "I hold several certificates beyond that.",
            "I have taken further courses with success.",
            "There are further diplomas on my wall.",
        ),
    ),
}
_OPENINGS = (
    "I apply for the post that you advertised.",
    "Please find my application below.",
    "Your advertisement caught my eye.",
    "A friend told me about the opening.",
    "I would like to join your company.",
    "Allow me a few words about myself.",
)
_ENDINGS = (
    "I look forward to your reply.",
    "References are available.",
    "I could start next month.",
    "Thank you for your attention.",
    "I would be glad to meet you.",
    "Kind regards.",
)


def cv_screening(n: int = 1000, *, seed: int = 0) -> ConceptData:
    """Letters of application; the outcome is their quality: weak, fair or strong.

    Args:
        n: number of texts. Default 1000.
        seed: of noise and wording. Default 0.

    Returns:
        The data. Equations: LIBERTy (arXiv 2601.10700), second numbers of N(., .) read as standard deviations; names of the variables and
        all texts are ours.

    Example:
        >>> cv_screening(5).graph.confounders("experience")
        ('age', 'education', 'region', 'sex')
    """
    return sample("cv_screening", _MODEL, Phrases(_SENTENCES, _OPENINGS, _ENDINGS), n, seed)
