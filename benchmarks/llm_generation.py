"""Text generation: prompts a second by batch size, and what the HTTP client costs beyond the server's own time.

    python benchmarks/llm_generation.py [--part local|http] [--quick]

Local: a random Llama (6 layers, 384 wide) on this machine's CPU, or CUDA if there is one; every reply is cut at the same length.
HTTP: the loopback server in a process of its own, which waits 200 ms an answer, which is short for a model. The ideal is requests x
latency / in flight.
"""

from __future__ import annotations

import argparse
import time

from whybox.llms import Limits, OpenAICompatible, Prompt, Sampling, TransformersGenerator
from whybox.testing.llm_server import running

WORDS = tuple("the food was good bad service slow great and but we will be back not never again nice room".split(" "))  # noqa: SIM905


def random_llama():
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens = ["<unk>", "</s>", *WORDS, *(f"w{i}" for i in range(4000))]
    backend = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=384, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=6, eos_token_id=1
    )
    model = LlamaForCausalLM(config).eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def local(quick: bool) -> None:
    model, tokenizer = random_llama()
    prompts = [Prompt.of(" ".join(WORDS[(i + j) % len(WORDS)] for j in range(20 + i % 40)) + f" w{i}") for i in range(32 if quick else 128)]
    sampling = Sampling(max_tokens=24)
    print(f"local generation on {model.device}: {len(prompts)} prompts of 21 to 60 tokens, 24 new tokens each")
    print("| batch | prompts/s (wall) | prompts per CPU second | against one at a time |")
    print("|---|---|---|---|")
    first = None
    for size in (1, 4, 16, 64):
        some = prompts[: len(prompts) // 4] if size == 1 else prompts
        llm = TransformersGenerator(model, tokenizer, batch_size=size, revision="benchmark")
        llm.generate(some[:size], Sampling(max_tokens=2))
        wall, cpu = time.perf_counter(), time.process_time()
        llm.generate(some, sampling)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        rate = len(some) / wall
        first = first or rate
        print(f"| {size} | {rate:.1f} | {len(some) / cpu:.1f} | {rate / first:.1f} x |", flush=True)


def http(quick: bool, latency: float) -> None:
    print(f"HTTP: server waits {1000 * latency:.0f} ms an answer")
    print("| in flight | requests | seconds | ideal | over the ideal | client CPU ms a request | server's most in flight |")
    print("|---|---|---|---|---|---|---|")
    for flight in (1, 16, 64):
        n = (4 if flight == 1 else 20) * flight * (1 if quick else 4)
        with running("--say", "yes", "--latency", str(latency)) as server:
            llm = OpenAICompatible(server.base_url, "loopback", limits=Limits(concurrency=flight))
            llm.generate([Prompt.of("warm up")])
            prompts = [Prompt.of(f"question {i} " + "word " * 100) for i in range(n)]
            wall, cpu = time.perf_counter(), time.process_time()
            replies = llm.generate(prompts)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            stats = server.stats()
        assert all(reply.text == "yes" for reply in replies)
        assert stats["answered"] == n + 1
        ideal = n * latency / flight
        over, cost = 100 * (wall / ideal - 1), 1000 * cpu / n
        print(f"| {flight} | {n} | {wall:.2f} | {ideal:.2f} | {over:.0f} % | {cost:.2f} | {stats['most_in_flight']} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("local", "http"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds that the server takes for an answer. Default 0.2")
    given = parser.parse_args()
    if given.part != "http":
        local(given.quick)
    if given.part != "local":
        http(given.quick, given.latency)


if __name__ == "__main__":
    main()
