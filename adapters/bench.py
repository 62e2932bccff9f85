"""Measures the batch against its alternatives in one run: peft one by one, peft's mixed batch, the bare base.

Ratios hold better than absolute times: every round measures all of them, one after another, and medians are taken.
One request alone is held against the physical limit, too: each of its tokens reads all weights once.
"""

from __future__ import annotations

import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Thread
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from adapters.base import Base
from adapters.cache import Prefixes
from adapters.chat import Sampling
from adapters.decoder import GROUPS, Decoder, Weights
from adapters.request import Request
from adapters.scheduler import Limits, Scheduler
from adapters.stack import Pair

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALONE = "one_request"  # without an adapter
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured."""

    requests: int = 8  # at once
    adapters: tuple[int, ...] = (1, 3, 8, 32, 128)  # among which they speak, as many as there are requests at most
    rank: int = 8
    layers: int = 20  # upper layers that carry weights
    prompt: int = 256  # tokens
    tokens: int = 48  # of each answer
    rounds: int = 3
    peft: bool = True


def measure(
    base: Base, other: Callable[[], Base], bench: Bench, progress: Progress = lambda *_: None
) -> dict[str, float]:
    """Tokens a second and ratios, by name; and what one request reaches of the most that memory allows it.

    Args:
        base: what our own engine computes.
        other: loads the same base once more, for peft.
        bench: what is measured.
        progress: told which measurement is made.
    """
    runs = dict(_ours(base, bench))
    if bench.peft:
        runs |= _theirs(other(), bench)
    for run in runs.values():
        run(-1)  # the first time allocates
    times: dict[str, list[float]] = {name: [] for name in runs}
    total = bench.rounds * len(runs)
    for number in range(bench.rounds):
        for name, run in runs.items():
            progress("Measuring the batch", sum(map(len, times.values())), total)
            times[name].append(run(number))
    medians = {name: statistics.median(found) for name, found in times.items()}
    spoken = dict.fromkeys(runs, bench.requests * bench.tokens) | {ALONE: bench.tokens - 1}
    found = {f"tokens_per_second_{name}": round(spoken[name] / seconds, 2) for name, seconds in medians.items()}
    found |= {name: round(value, 3) for name, value in _ratios(medians, bench)}
    return found | _limit(base, spoken[ALONE] / medians[ALONE])


def _limit(base: Base, reached: float) -> dict[str, float]:
    """The tokens a second that one request could get if nothing but reading the weights took time."""
    copied, read = copy_bandwidth(base.model.device), _bytes_read(base)
    return {
        "copy_gb_per_second": round(copied, 2),
        "read_mb_per_token": round(read / 1e6, 1),
        f"tokens_per_second_{ALONE}_limit": round(1e9 * copied / read, 2),
        f"{ALONE}_to_limit": round(reached * read / copied / 1e9, 3),
    }


def _ratios(medians: dict[str, float], bench: Bench) -> Iterator[tuple[str, float]]:
    many = f"adapters_{min((n for n in bench.adapters if n >= bench.requests), default=max(bench.adapters))}"
    yield "mixed_to_one_adapter", medians["adapters_1"] / medians[many]
    yield "mixed_to_bare_base", medians["bare"] / medians[many]
    yield "most_to_fewest_mixed", medians[many] / medians[f"adapters_{max(bench.adapters)}"]
    if bench.peft:
        yield "mixed_to_peft_one_by_one", medians["peft_one_by_one"] / medians[many]
        yield "mixed_to_peft_mixed", medians["peft_mixed"] / medians[many]


def copy_bandwidth(device: torch.device, megabytes: int = 512) -> float:
    """Gigabytes a second that memory reads and writes in a plain copy: the limit of any engine at batch 1."""
    source = torch.ones(megabytes * 1024 * 1024 // 4, device=device)
    target = torch.empty_like(source)
    best = 1e9
    for _ in range(4):
        started = time.perf_counter()
        target.copy_(source)
        target[-1].item()  # a device computes on its own until it is asked
        best = min(best, time.perf_counter() - started)
    return 2 * source.nbytes / best / 1e9


def _bytes_read(base: Base) -> int:
    """Of the weights, for each token: all of them, but of words that are not also the head only the token's own."""
    model: Any = base.model
    words = model.model.embed_tokens.weight
    apart = 0 if model.lm_head.weight.data_ptr() == words.data_ptr() else words.nbytes
    return sum(weight.nbytes for weight in base.model.parameters()) - apart


def _ours(base: Base, bench: Bench) -> Iterator[tuple[str, Callable[[int], float]]]:
    slots = bench.requests
    decoder = Decoder(base, rows=slots, lanes=slots, context=bench.prompt + bench.tokens + 16)
    held = {f"{number:064x}": random_weights(base, bench, number) for number in range(max(bench.adapters))}
    scheduler = Scheduler(decoder, Limits(slots=slots, queue=0), Prefixes(0), held.get)

    def run(adapters: int) -> Callable[[int], float]:
        def once(number: int) -> float:
            chance = random.Random(number)  # noqa: S311 - chooses adapters, guards nothing
            names = chance.sample(list(held)[:adapters], min(adapters, slots)) if adapters else [None]
            return _batch(base, scheduler, [names[n % len(names)] for n in range(slots)], bench)

        return once

    yield ALONE, lambda _: _alone(base, scheduler, bench)
    yield "bare", run(0)
    for adapters in bench.adapters:
        yield f"adapters_{adapters}", run(adapters)


def _batch(base: Base, scheduler: Scheduler, names: list[str | None], bench: Bench) -> float:
    """Seconds that requests take together, prompts read included; none ends early and nothing is drafted."""
    asked = _requests(base, names, bench)

    def listen(request: Request) -> None:
        while request.out.get() is not None:
            pass
        scheduler.end(request)

    started = time.perf_counter()
    threads = [Thread(target=listen, args=(request,)) for request in asked]
    for request, thread in zip(asked, threads, strict=True):
        scheduler.submit(request)
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _alone(base: Base, scheduler: Scheduler, bench: Bench) -> float:
    """Seconds from the first token of the only request to its last."""
    (request,) = _requests(base, [None], bench)
    scheduler.submit(request)
    request.out.get()
    started = time.perf_counter()
    while request.out.get() is not None:
        pass
    took = time.perf_counter() - started
    scheduler.end(request)
    return took


def _requests(base: Base, names: list[str | None], bench: Bench) -> list[Request]:
    sampling, prompts = Sampling(bench.tokens), _prompts(base, bench)
    return [
        Request(prompt, name, sampling, frozenset(), drafts=False) for name, prompt in zip(names, prompts, strict=False)
    ]


def _prompts(base: Base, bench: Bench) -> list[list[int]]:
    chance = random.Random(bench.prompt)  # noqa: S311 - makes up prompts, guards nothing
    size = int(base.model.config.vocab_size)
    return [[chance.randrange(100, size) for _ in range(bench.prompt)] for _ in range(bench.requests)]


def random_weights(base: Base, bench: Bench, seed: int) -> Weights:
    """An adapter as ``adapters.lora`` reads one: all linear layers of the upper layers."""
    chance = torch.Generator().manual_seed(seed)
    model: Any = base.model
    weights: Weights = {}
    for number in list(range(len(model.model.layers)))[-bench.layers :]:
        for group, (at, names) in GROUPS.items():
            linears = [getattr(getattr(model.model.layers[number], at), name) for name in names]
            outs = [one.out_features for one in linears]
            down = torch.randn(len(names) * bench.rank, linears[0].in_features, generator=chance) * 0.02
            up = torch.zeros(len(names) * bench.rank, sum(outs))
            for n, out in enumerate(outs):
                where = slice(sum(outs[:n]), sum(outs[:n]) + out)
                up[n * bench.rank : (n + 1) * bench.rank, where] = torch.randn(bench.rank, out, generator=chance) * 0.02
            weights[number, group] = Pair(down.to(model.device, model.dtype), up.to(model.device, model.dtype))
    return weights


def _theirs(base: Base, bench: Bench) -> dict[str, Callable[[int], float]]:
    """transformers and peft: ``set_adapter`` and one request after another, and one batch with ``adapter_names``."""
    depth = int(base.model.config.num_hidden_layers)
    config = LoraConfig(
        r=bench.rank,
        lora_alpha=16,
        target_modules=LINEAR,
        layers_to_transform=list(range(depth - bench.layers, depth)),
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    names = [f"a{number}" for number in range(bench.requests)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = get_peft_model(base.model, config, adapter_name=names[0])
        for name in names[1:]:
            model.add_adapter(name, config)
    model.to(base.model.dtype).train(False)
    options = {"max_new_tokens": bench.tokens, "min_new_tokens": bench.tokens, "do_sample": False}
    prompts = torch.tensor(_prompts(base, bench), device=model.device)

    @torch.inference_mode()
    def one_by_one(_: int) -> float:
        started = time.perf_counter()
        for name, prompt in zip(names, prompts, strict=True):
            model.set_adapter(name)
            model.generate(input_ids=prompt[None], attention_mask=torch.ones_like(prompt[None]), **options)
        return time.perf_counter() - started

    @torch.inference_mode()
    def mixed(_: int) -> float:
        started = time.perf_counter()
        model.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), adapter_names=names, **options)
        return time.perf_counter() - started

    return {"peft_one_by_one": one_by_one, "peft_mixed": mixed}
