"""The page's frame: header, tabs, and the API names for scripts."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from ui import capsule_tab, compare_tab, data_tab, growing_tab, header, play_tab, report_tab, train_tab
from ui.actions import Actions, sentence

P = ParamSpec("P")
R = TypeVar("R")
AT_ONCE = 24
"""Answers under way or waiting: more than the talker lets wait, so that it is the talker who refuses, in a sentence."""


def build_page(actions: Actions, more: Sequence[Callable[..., Any]] = ()) -> Any:
    """All of the page as Gradio Blocks; what moves in it is drawn by ui/static/app.js.

    Each handler of `more` is an API name too.
    """
    with gr.Blocks(title="Blueberry Studio", analytics_enabled=False, fill_width=True) as demo:
        header.build(spoken(actions.stop_run), spoken(actions.resume_run))
        train_tab.build(spoken(actions.start_run))
        growing_tab.build()
        compare_tab.build()
        play_tab.build()
        capsule_tab.build()
        data_tab.build()
        report_tab.build()
        add_api(actions)
        for handler in more:
            gr.api(spoken(handler), api_name=handler.__name__)
    demo.queue(max_size=64, default_concurrency_limit=8, api_open=True)
    return demo


def add_api(actions: Actions) -> None:
    """The names of CONTRACT.md that no button carries."""

    def run_status(run: str) -> dict[str, Any]:
        """Everything about one run."""
        return spoken(actions.run_status)(run)

    def list_runs() -> list[dict[str, Any]]:
        """All runs, newest first."""
        return spoken(actions.list_runs)()

    def queue_run(preset: str, name: str = "", overrides_json: str = "{}") -> str:
        """Put a run in line for its device, where it begins once it is its turn; returns its id."""
        return spoken(actions.queue_run)(preset, name, overrides_json)

    def queue_resume(run: str) -> str:
        """Let a run that ended early go on once it is its turn; returns its id."""
        return spoken(actions.queue_resume)(run)

    def search_samples(query: str = "", run: str = "", category: str = "") -> dict[str, Any]:
        """The newest 50 exhibits that match."""
        return spoken(actions.search_samples)(query, run, category)

    def list_samples(run: str, after: int = 0) -> list[dict[str, Any]]:
        """Up to 1,000 answers of a run with an id above `after`, oldest first."""
        return spoken(actions.list_samples)(run, after)

    def archive_sample(sample_id: int, category: str, title: str, note: str = "") -> int:
        """Keep a sample as an exhibit, or change how it is kept; returns the exhibit's id."""
        return spoken(actions.archive_sample)(sample_id, category, title, note)

    def generate(
        run: str,
        step: int = -1,
        prompt: str = "Once upon a time",
        max_tokens: int = 80,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 0.95,
        seed: int = 7,
    ) -> Iterator[str]:
        """Stream what a run says at the age `step` (-1: newest): the whole continuation so far."""
        for piece in streamed(actions.ask)(run, step, prompt, max_tokens, temperature, top_k, top_p, seed):
            yield piece["text"]

    # Not more arguments of `generate`: a plain HTTP request has to send every argument that a name has.
    def generate_with(
        run: str, step: int = -1, prompt: str = "Once upon a time", settings_json: str = "{}"
    ) -> Iterator[str]:
        """The same with any settings: those of `generate`, min_p, repetition_penalty and stop (a list of texts)."""
        for piece in streamed(actions.ask_with)(run, step, prompt, settings_json):
            yield piece["text"]

    for handler in (run_status, list_runs, queue_run, queue_resume, search_samples, list_samples, archive_sample):
        gr.api(handler, api_name=handler.__name__)
    gr.api(generate, api_name="generate", concurrency_limit=AT_ONCE)
    gr.api(generate_with, api_name="generate_with", concurrency_limit=AT_ONCE)


def spoken(handler: Callable[P, R]) -> Callable[P, R]:
    """The handler with every error turned into one sentence for the person (the boundary of this process)."""

    @functools.wraps(handler)  # the API shows its arguments by name
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - nothing but a sentence may reach a browser
            raise gr.Error(sentence(error), print_exception=False) from None

    return run


def streamed(handler: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """The same for a handler that yields; closing it closes the handler at once, which cancels the answer."""

    @functools.wraps(handler)
    def run(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        pieces = handler(*args, **kwargs)
        try:
            yield from pieces
        except Exception as error:  # noqa: BLE001 - nothing but a sentence may reach a browser
            raise gr.Error(sentence(error), print_exception=False) from None

    return run
