"""Matching without an LLM at hand: an encoder learns from edits, once, what a counterfactual keeps and what it changes.

    python examples/causal_embedding.py [--quick]

The texts come from a structural causal model, so that the true effects are known: of "fever" on a classifier of diseases. Four encoders
say which texts of a pool are near; the nearest five with the target value stand for the counterfactual.
"""

import argparse

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from whybox.concepts import CausalEmbedding, FineTunedEncoder, FusedEncoder, StructuralCounterfactuals, TrainingOptions
from whybox.datasets import disease

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="fewer texts")
quick = parser.parse_args().quick

originals, pool, new = disease(80 if quick else 400, seed=1), disease(400 if quick else 2000, seed=2), disease(60 if quick else 200, seed=3)
classifier = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)).fit(pool.texts, pool.labels)
options = TrainingOptions(epochs=5 if quick else 60)

# Where training starts: any encoder.
words = TfidfVectorizer(max_features=200).fit(pool.texts)


def base(texts):
    return words.transform(texts).toarray()


# Texts are near that the classifier treats alike, whatever they say.
tuned = FineTunedEncoder.fit(base, pool.texts, classifier.predict_proba(pool.texts), options=options)
# Texts are near that would be the same, were it not for the fever. The edits may come from an LLM, from people, or, here, from the model.
edits = StructuralCounterfactuals(originals)
labels = {c.name: originals.values(c.name) for c in originals.concepts}
causal = CausalEmbedding.fit(
    base, originals.texts, edits, originals.concepts, labels=labels, graph=originals.graph, treatments=["fever"], options=options
)
print(f"trained on {causal.settings['edits']} edits, best epoch {causal.histories['fever'].best} of {len(causal.histories['fever'].train)}")

# The true counterfactuals, and the answers of the classifier before and after.
truth = StructuralCounterfactuals(new).counterfactuals(new.texts, "fever", to="absent")
texts = [new.texts[edit.original] for edit in truth.edits]
before, after = classifier.predict_proba(texts), classifier.predict_proba([edit.text for edit in truth.edits])
candidates = [text for text, value in zip(pool.texts, pool.values("fever"), strict=True) if value == "absent"]
answers = classifier.predict_proba(candidates)


def unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


print(f"true mean effect of no fever on the three diseases: {(after - before).mean(axis=0).round(3)}")
encoders = {"base": base, "fine-tuned": tuned, "causal": causal.for_concept("fever"), "both": FusedEncoder((tuned, causal))}
for name, encoder in encoders.items():
    nearest = np.argsort(-unit(encoder(texts)) @ unit(encoder(candidates)).T, axis=1)[:, :5]
    effect = answers[nearest].mean(axis=1) - before
    error = np.linalg.norm(effect - (after - before), axis=1).mean()
    print(f"{name:>10}: mean effect {effect.mean(axis=0).round(3)}, error of a single effect {error:.3f}")
