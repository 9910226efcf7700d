"""The web process: one FastAPI app with our JSON, our static files and Gradio's page behind one guard."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from engine import changing, fork, probing, store
from engine.home import Home
from engine.prompts import PROMPTS
from ui import warming
from ui.actions import CLEAR, Actions, Launch, Talker, sentence
from ui.alert_routes import make_alerts
from ui.arena_routes import make_arena
from ui.ask_routes import make_ask
from ui.capsule_jobs import Jobs
from ui.capsule_routes import make_capsules
from ui.changes import Changes, Changing
from ui.columns import SeriesCache
from ui.data_routes import Preparing, make_data
from ui.exhibits import make_exhibits
from ui.fork_routes import make_changes, make_forks
from ui.forks import Forking, Forks
from ui.growing_routes import make_growing
from ui.guard import Guard
from ui.judging import Judging
from ui.judging_routes import make_judging
from ui.label_routes import make_labels
from ui.machine_routes import Machine, make_machine
from ui.money_routes import make_money
from ui.previews import Previewer
from ui.probe_routes import Measure, make_probes
from ui.prompt_routes import make_prompts
from ui.queue_routes import make_queue
from ui.reading import Reader
from ui.record_routes import make_records
from ui.report_routes import make_reports
from ui.routes import make_router
from ui.said_routes import Indexing, make_said
from ui.statics import STATIC, add_static
from ui.surprise_routes import make_surprise
from ui.sweep_routes import make_sweeps


def create_app(
    home: Home,
    *,
    launch: Launch,
    talker: Talker,
    preparing: Preparing,
    previewer: Previewer | None = None,
    measure: Measure = probing.measure,
    forking: Forking = fork,
    changer: Changing = changing,
    prompts: Path = PROMPTS,
    hosts: tuple[str, ...] = (),
    user: str = "blueberry",
    password: str = "",
    ahead: bool = False,
) -> FastAPI:
    """The whole page of one home, whose database must have been migrated. `hosts` may be used besides loopback.

    `prompts`: the folder of the prompt suites. `ahead`: read the newest curves before anybody asks for them, and
    measure what is said.
    """
    import gradio as gr  # 3 s: only the web process pays for it, and only when a page is built

    from ui.opening import Opening
    from ui.page import build_page
    from ui.theme import make_theme, page_head

    reader = Reader(home, launch.reconcile)
    actions = Actions(home, launch, talker, reader)
    app = FastAPI(title="Blueberry Studio", docs_url=None, redoc_url=None, openapi_url=None)
    add_error_answers(app)
    version = add_static(app, ahead)  # first: a new browser asks for a hundred of them at once
    cache = SeriesCache()
    app.include_router(make_router(reader, launch, cache))
    app.include_router(make_ask(actions))
    app.include_router(make_surprise(reader, talker))
    app.include_router(make_exhibits(reader, actions, cache))
    app.include_router(make_said(reader))
    app.include_router(make_arena(reader))
    jobs = Jobs(home)
    app.include_router(make_capsules(reader, jobs))
    app.include_router(make_records(reader, actions, cache))
    app.include_router(make_growing(reader, cache))
    app.include_router(make_reports(reader))
    judging = Judging(home)
    app.include_router(make_judging(reader, judging))
    app.include_router(make_labels(reader))
    app.include_router(make_queue(reader, actions))
    app.include_router(make_prompts(reader, prompts))
    app.include_router(make_sweeps(reader))
    app.include_router(make_money(reader))
    machine = Machine(reader)
    app.include_router(make_machine(reader, machine))
    app.include_router(make_alerts(reader))
    app.include_router(make_data(home, preparing, previewer or Previewer()))
    app.include_router(make_probes(home, measure))
    forks, changes = Forks(home, reader, forking), Changes(home, reader, changer)
    app.include_router(make_forks(forks, cache))
    app.include_router(make_changes(changes))
    demo = build_page(actions, [forks.fork_run, forks.queue_fork, changes.change_run])
    gr.mount_gradio_app(
        app,
        demo,
        path="/",
        theme=make_theme(),
        head=page_head(version),
        footer_links=[],
        run_history=False,
        show_error=False,
        allowed_paths=[],
        blocked_paths=[str(home.path)],
        max_file_size="1mb",
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        favicon_path=str(STATIC / "favicon.svg"),
    )
    rest_quietly(demo)
    scripts = sorted(path.name for path in STATIC.glob("*.js"))
    app.add_middleware(Opening, base=f"/static/studio/{version}", scripts=scripts)
    app.add_middleware(Guard, hosts=hosts, user=user, password=password)
    if ahead:
        app.router.on_startup += [lambda: warming.start(home, cache), judging.start]
    indexing = Indexing(home)
    app.router.on_startup.append(indexing.start)
    app.router.on_shutdown += [talker.close, machine.close, judging.close, indexing.close, jobs.close]
    return app


def add_error_answers(app: FastAPI) -> None:
    """Errors of our routes are one sentence as JSON."""

    def clear(request: Request, error: Exception) -> Response:
        status = 503 if isinstance(error, store.UNUSABLE) else 400
        return JSONResponse({"error": sentence(error)}, status)

    def wrong(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "A value in this address is missing or of the wrong kind."}, 422)

    def odd(request: Request, error: Exception) -> Response:
        # What the framework itself refuses, for example a body nested too deep to be read.
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": f"{str(error.detail).rstrip('.')}."}, error.status_code, error.headers)

    kinds: tuple[type[Exception], ...] = (*CLEAR, *store.DatabaseError)
    for kind in kinds:
        app.add_exception_handler(kind, clear)
    app.add_exception_handler(RequestValidationError, wrong)
    app.add_exception_handler(HTTPException, odd)


def rest_quietly(demo: Any) -> None:
    """Let Gradio's idle queue look for work 20 times a second instead of 1,000 (7% of a core, measured in 6.31)."""
    queue: Any = getattr(demo, "_queue", None)
    if hasattr(queue, "sleep_when_free"):
        queue.sleep_when_free = 0.05
