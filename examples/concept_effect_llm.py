"""How does a rating classifier change its mind if the food had been bad, all else equal? Counterfactual reviews written by an LLM.

Without options it runs offline: a small server on loopback plays the LLM, and edits a third of the reviews sloppily, so that there is
something for the validation to catch. Because the reviews come from a structural causal model, the true effects are known and the error
can be printed. Against a real endpoint:

    python examples/concept_effect_llm.py --base-url https://api.openai.com/v1 --model gpt-4o-mini --api-key-env OPENAI_API_KEY
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from whybox.concepts import ConceptEffect, FittedClassifier, LLMCounterfactuals, StructuralCounterfactuals
from whybox.datasets import concept_reviews
from whybox.llms import Budget, Cached, Limits, OpenAICompatible
from whybox.testing.llm_server import running


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-url", help="an OpenAI-compatible endpoint; without it a loopback server plays the LLM")
    parser.add_argument("--model", default="structural", help="the model's name at the endpoint")
    parser.add_argument("--api-key-env", help="NAME of the environment variable that holds the key")
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--budget", type=int, default=2000, help="requests at most")
    parser.add_argument("--out", type=Path, default=Path("concept_effect"), help="folder for the edits, the diff and the cache")
    parser.add_argument("--quick", action="store_true", help="fewer texts")
    given = parser.parse_args()
    n = 20 if given.quick else given.texts
    given.out.mkdir(exist_ok=True)

    # The explained model sees texts only. The concept classifier, another model, judges the edits.
    train, data = concept_reviews(1500 if given.quick else 3000, seed=1), concept_reviews(n)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=500)).fit(train.texts, train.labels)
    reads = FittedClassifier.fit(train.texts, {c.name: train.values(c.name) for c in train.concepts})

    with ExitStack() as stack:
        url = given.base_url or stack.enter_context(running("--texts", str(n), "--sloppy", "0.333", "--repents")).base_url
        endpoint = OpenAICompatible(
            url, given.model, api_key_env=given.api_key_env, limits=Limits(concurrency=8), budget=Budget(requests=given.budget)
        )
        llm = Cached.at(given.out / "replies.sqlite", endpoint)
        source = LLMCounterfactuals(llm, data.concepts, data.graph, classifier=reads)
        food = data.values("food")
        plan = endpoint.plan(source.prompts(data.texts, "food", to="Negative", current=food))
        print(f"about {plan.requests} requests and {plan.tokens.total} tokens for one intervention, before repairs")
        e = ConceptEffect(model, source).explain(data.texts, "food", to=["Negative", "Positive"], current=food)
        llm.cache.close()

    edits = e.counterfactuals
    print(edits)
    print("rejected for:", edits.reasons(), "| repaired:", sum(edit.valid and edit.attempts > 1 for edit in edits.edits))
    print("cost:", edits.cost)
    print(e.to_frame().query("output == '4'").round(3).to_string(index=False))  # five stars
    truth = ConceptEffect(model, StructuralCounterfactuals(data)).explain(data.texts, "food", to=["Negative", "Positive"])
    print(f"mean L2 error of the individual effects against the structural truth: {e.error_against(truth):.4f}")
    print()
    print(edits.select(valid=True).to_text(max_edits=2))
    edits.save(given.out / "edits.jsonl")
    (given.out / "edits.html").write_text(f'<meta charset="utf-8">{edits.to_html()}', encoding="utf-8")
    e.plot(output="4").figure.savefig(given.out / "effects.png")
    print(f"\nwritten: {given.out}/edits.jsonl, edits.html, effects.png and the cache of replies")


if __name__ == "__main__":
    main()
