"""What was measured, as a table for people."""

from typing import Any

from engine.phrases import count, size, table

SPEED, MEMORY, LOADER, RESUME = 550_000, 1_500_000_000, 20_000_000, 5.0
"""What two cores have to reach: tokens a second prepared, bytes of memory, tokens a second read, seconds to go on."""


def shown(report: dict[str, Any]) -> str:
    """The report as a person reads it."""
    text, loader, resume = report["text"], report["loader"], report["resume"]
    ours, right = report["sides"]["prepared"], ("TOK/S", "PREPARED IS", "CORE-S/M TOK", "PEAK MEMORY")
    rows = []
    for name, side in report["sides"].items():
        speed = side["tokens_per_second"]
        ratio = "" if side is ours else f"{ours['tokens_per_second'] / speed:.2f}x"
        work = side["work"] / side["tokens"] * 1e6
        rows.append((name, f"{speed:,.0f}", ratio, f"{work:.2f}", size(side["peak_bytes"])))
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in ours["stages"].items())
    return "\n".join(
        (
            f"{loader['processor']}, {report['cores']} cores; {size(text['bytes'])} of text in {text['documents']:,} "
            f"documents ({text['source']}, {text['copies']} times), {count(ours['tokens'])} tokens",
            "",
            table(("SIDE", *right), rows, right),
            "",
            f"prepared in     {stages}",
            f"loader          {loader['plain'] / 1e6:,.0f} M tok/s in batches of {loader['rows']} x "
            f"{loader['context']:,} on {loader['device']}, {loader['documents'] / 1e6:,.0f} M with document bounds",
            f"after a kill    {resume['seconds']:.1f} s until a job of {count(resume['saved_tokens'])} tokens goes on "
            f"({resume['tokenizer']}; the longest of {len(resume['all_seconds'])})",
            "",
            *wanted(report),
        )
    )


def wanted(report: dict[str, Any]) -> list[str]:
    """What has to be reached on two cores, and whether it is."""
    ours = report["sides"]["prepared"]
    lines = (
        ("550k tok/s end to end", ours["tokens_per_second"] >= SPEED),
        ("less than 1.5 GB", ours["peak_bytes"] < MEMORY),
        ("loader 20 M tok/s", report["loader"]["plain"] >= LOADER),
        ("goes on within 5 s", report["resume"]["seconds"] <= RESUME),
    )
    return [f"{'reached' if good else 'MISSED':8} {what}" for what, good in lines]
