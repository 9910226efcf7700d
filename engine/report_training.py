"""The tables of a report about one run alone: what it is made of, on what it was trained, what it reached and cost."""

from engine import money, store
from engine.phrases import duration, energy, loss, size
from engine.phrases import money as amount
from engine.report_document import Part, Sentence, Table, told
from engine.report_facts import Facts
from engine.report_words import line


def architecture(facts: Facts) -> Table:
    """The shape of the model and its recipe, as they were set."""
    config, model = facts.config, facts.config.model
    optimizer, schedule, train = config.optimizer, config.schedule, config.train
    gate = "gated SiLU (SwiGLU)" if model.activation == "swiglu" else "squared ReLU"
    experts = f", {model.experts} experts of which {model.experts_per_token} work on each token"
    active = f", {model.active_parameters:,} of them at work on each token" if model.experts > 1 else ""
    window = f", each position sees the {model.window:,} before it" if model.window else ""
    rows = [
        ("Kind", "decoder-only transformer, pre-norm with RMSNorm"),
        ("Parameters", f"{model.parameters:,}{active}; the embedding is also the output and counts once"),
        ("Layers", f"{model.layers}"),
        ("Width", f"{model.width:,}"),
        (
            "Attention",
            f"{model.heads} query heads, {model.kv_heads} key/value heads of {model.head_size} channels, "
            f"norm on queries and keys{window}",
        ),
        ("Feed-forward", f"{gate}, {model.mlp_width:,} wide{experts if model.experts > 1 else ''}"),
        ("Positions", f"rotary, base {model.rope_base:,.0f}"),
        ("Context", f"{model.context:,} tokens"),
        ("Vocabulary", f"{model.vocab_size:,} pieces, tokenizer {_tokenizer(facts)}"),
        ("Optimizer", f"Muon at {optimizer.muon_lr:g} inside the blocks, AdamW at {optimizer.adamw_lr:g} for the rest"),
        (
            "Learning rate",
            f"rises for {schedule.warmup:.0%} of the steps, falls ({schedule.shape}) for the last {schedule.decay:.0%} "
            f"to {schedule.final:.0%} of its highest",
        ),
        ("Tokens of a step", f"{train.batch_tokens:,}"),
    ]
    return Table(rows=told(rows), about="Architecture and recipe")


def _tokenizer(facts: Facts) -> str:
    """Its name; a file by its own name only."""
    given = line(facts.config.data.tokenizer)
    return given.rstrip("/").rpartition("/")[2] if given.startswith(("/", "~")) else given


def environment(facts: Facts) -> Table:
    """The machine and how fast it was, with where each figure comes from."""
    since = _since(facts)
    parents = " and in its parent's before it" if since else ""
    run, seen = facts.run, {key: line(str(value)) for key, value in facts.environment.items()}
    versions = ", ".join(
        f"{label} {seen[key]}" for key, label in (("python", "Python"), ("torch", "PyTorch")) if key in seen
    )
    own = "as it names itself"
    rows = [
        ("Machine", seen.get("device_name", ""), own),
        ("Device", line(run["device"]), "chosen at the start"),
        ("Number format", seen.get("precision", ""), "of the products; weights are kept in fp32"),
        ("Attention computed by", seen.get("attention", ""), "chosen at the start"),
        ("Threads", seen.get("threads", "") if run["device"] == "cpu" else "", "chosen at the start"),
        ("Software", versions, own),
        (
            "Time worked",
            duration(run["elapsed_seconds"]) if run["elapsed_seconds"] else "",
            f"measured, {_attempts(run['attempt'])}{since}{parents}, without pauses",
        ),
        (
            "Time of its processes",
            duration(facts.usage.seconds) if facts.usage.seconds else "",
            f"measured by the clock{since}, pauses included",
        ),
        (
            "Speed on average",
            f"{facts.speed:,.0f} tokens a second" if facts.speed else "",
            "tokens by time worked, evaluations, answers and saves included",
        ),
        (
            "Use of the device",
            f"{facts.mfu:.1%}" if facts.mfu else "",
            "model FLOP/s by the peak of the device, mean of all steps",
        ),
        (
            "Memory",
            size(facts.run_memory) if facts.run_memory else "",
            "the most that the trainer held, looked at about every second",
        ),
        (
            "GPU memory",
            size(facts.gpu_memory) if facts.gpu_memory else "",
            "the most in use, by anybody, looked at about every second",
        ),
    ]
    return Table(head=("Figure", "Value", "Where it comes from"), rows=told(rows), about="Environment and performance")


def _since(facts: Facts) -> str:
    """What is added to figures that do not count the parent's of a fork."""
    return " since the fork" if facts.run["parent_step"] else ""


def _attempts(many: int) -> str:
    return f"in {many} attempts" if many > 1 else "in one attempt"


def metrics(facts: Facts) -> tuple[Part, ...]:
    """What the model reached; without any evaluation, that there was none."""
    run, score, best = facts.run, facts.score, facts.best
    rows: list[tuple[str, ...]] = []
    if run["train_loss"] is not None:
        of = f"step {run['step']:,}, its own batch, before the step"
        rows.append(("Training loss", loss(run["train_loss"]), of))
    if score:
        text = line(facts.text.name)
        where = f"step {score.step:,}, up to {facts.config.eval.tokens:,} tokens of {text} that it never trains on"
        rows += told(
            [
                ("Validation loss", loss(score.loss), f"{where}; nats a token"),
                ("Perplexity", _perplexity(score.perplexity), "e to the power of that loss"),
                (
                    "Accuracy",
                    f"{score.accuracy:.2%}" if score.accuracy is not None else "",
                    "share of these tokens whose likeliest guess was right",
                ),
                (
                    "Bits per byte",
                    f"{score.bits:.4f}" if score.bits is not None else "",
                    "the same loss for each byte of text: to compare across tokenizers",
                ),
            ]
        )
    if best and score and best[0] != score.step and best[1] < score.loss:
        rows.append(("Lowest validation loss", loss(best[1]), f"step {best[0]:,}, the same tokens"))
    if not rows:
        return (Sentence(text="Nothing was measured yet."),)
    table = Table(head=("Figure", "Value", "Where it was measured"), rows=tuple(rows), about="Metrics")
    return (table,) if score else (table, Sentence(text="How well it does on unseen text was not measured yet."))


def _perplexity(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def cost(facts: Facts) -> tuple[Part, ...]:
    """What it cost, by a price that a person gave, and the energy measured; nothing where neither is known."""
    known, rows, since = facts.money, list[tuple[str, ...]](), _since(facts)
    if facts.price:
        currency = known["currency"]
        of = "price by wall-clock time of its processes" if "an hour" in facts.price else "price by energy"
        rows.append(("Price of the machine", line(facts.price), "given by a person"))
        rows += _amount(f"Cost{since}", known.get("spent"), currency, of)
        of = f"cost by tokens seen{since}"
        rows += _amount("Cost of a million tokens", known.get("per_million"), currency, of)
    joules, given = known.get("joules"), known.get("joules_given") or 0.0
    if joules:
        measured = joules - given
        if measured > 0:
            rows.append((f"Energy{since}", energy(measured), "measured at the GPU"))
        if given > 0:
            rows.append((f"Energy besides{since}", energy(given), "from the power that a person gave, not measured"))
        tokens = store.tokens_since_fork(facts.run)
        if measured > 0 and not given and tokens:
            each = energy(measured / tokens * money.MILLION)
            rows.append(("Energy of a million tokens", each, f"energy by tokens seen{since}"))
    if not rows:
        return ()
    return (Table(head=("Figure", "Value", "Where it comes from"), rows=tuple(rows), about="Cost and energy"),)


def _amount(name: str, value: float | None, currency: str, where: str) -> list[tuple[str, ...]]:
    return [] if value is None else [(name, line(amount(value, currency)), where)]
