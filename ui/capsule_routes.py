"""Capsules for the page: packed and fetched, brought and taken in, their covers, and exhibits asked again."""

import json
from dataclasses import asdict, replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from engine import capsule, capsule_pack, capsule_unpack, replay, store
from engine.space import RESERVE, free_disk
from engine.store import Refused, Row, Wanted
from ui.answers import reply
from ui.capsule_jobs import Job, Jobs
from ui.checks import text, whole
from ui.exhibits import Filters
from ui.guard import UPLOAD_LIMIT
from ui.reading import Reader

OPTIONS = {
    "query": "query",
    "category": "category",
    "tag": "tag",
    "measured": "measured",
    "youngest": "young",
    "oldest": "old",
    "since": "since",
    "until": "until",
}
"""The options of `capsule export` for what is wanted."""
LOOK = 64 * 2**20
"""Bytes after which an upload looks again whether the disk has room."""


def make_capsules(reader: Reader, jobs: Jobs) -> APIRouter:
    """The routes for one home. What changes something is a POST, whose origin the guard has checked."""
    router = APIRouter(prefix="/api")

    @router.get("/capsules")
    def capsules(request: Request) -> Response:
        found = [row for row in store.list_capsules(reader.db()) if row["here"] or row["opened_at"] is None]
        return reply(request, {"capsules": [_shown(reader, row) for row in found]})

    @router.post("/capsule/plan")
    def plan(request: Request, what: dict[str, Any], wanted: Filters) -> Response:
        planned = _plan(reader, what, wanted)
        return reply(
            request,
            {
                "runs": [run["name"] for run in planned.runs],
                "exhibits": len(planned.kept),
                "weights": planned.weights_bytes,
                "words_only": planned.words_only,
            },
        )

    @router.post("/capsule/export")
    def export(request: Request, what: dict[str, Any], wanted: Filters) -> Response:
        planned = _plan(reader, what, wanted)
        words = ["--run", *(run["id"] for run in planned.runs)]
        for name, option in OPTIONS.items():
            if (value := getattr(wanted, name)) not in (None, ""):
                words.append(f"--{option}={value}")
        words += ["--pinned"] * wanted.pinned
        title, sender = (
            text(what.get(name) or "", f"The {name}", longest).strip()
            for name, longest in (("title", capsule.LONGEST_TITLE), ("sender", capsule.LONGEST_SENDER))
        )
        words += [f"--title={title}", f"--from={sender}"]
        if seal := text(what.get("seal") or "", "The date", 40):
            words.append(f"--seal-until={capsule.read_date(seal)}")
        words += [f"--{name}" for name in ("weights", "samples") if what.get(name) is True]
        file = jobs.new_file()
        return reply(request, {"job": jobs.start("export", [*words, "--", str(file)], file)})

    @router.get("/capsule/job")
    def job(request: Request, job: str) -> Response:
        return reply(request, _told(jobs.get(job)))

    @router.post("/capsule/cancel")
    def cancel(request: Request, what: dict[str, Any]) -> Response:
        jobs.cancel(text(what.get("job"), "The job", 64))
        return reply(request, {})

    @router.get("/capsule/file")
    def file(job: str) -> Response:
        found = jobs.get(job)
        path = jobs.take_file(job)
        title = "".join(letter if letter.isalnum() else "-" for letter in found.result["title"])[:60].strip("-")
        gone = BackgroundTask(_remove, jobs, job, path)
        name = f"{title or 'exhibits'}{capsule.SUFFIX}"
        return FileResponse(path, media_type="application/zip", filename=name, background=gone)

    @router.post("/capsule/upload")
    async def upload(request: Request) -> Response:
        path = await run_in_threadpool(jobs.new_file)
        token = ""
        try:
            with path.open("xb") as file:
                size = looked = 0
                async for part in request.stream():
                    size += file.write(part)
                    if size > UPLOAD_LIMIT:
                        raise Refused(
                            f"A capsule may have {UPLOAD_LIMIT:,} bytes here; the command line takes larger ones."
                        )
                    if size - looked > LOOK:
                        looked = size
                        if free_disk(path.parent) < RESERVE:
                            raise Refused("The disk is full.")
            token = await run_in_threadpool(jobs.start, "show", [str(path)], path)
        except OSError as error:
            raise Refused("The capsule cannot be kept; is the disk full?") from error
        finally:
            if not token:
                path.unlink(missing_ok=True)
        return reply(request, {"job": token})

    @router.post("/capsule/take")
    def take(request: Request, what: dict[str, Any]) -> Response:
        shown = jobs.get(text(what.get("job"), "The job", 64))
        if shown.kind != "show" or shown.state != "done" or shown.file is None:
            raise Refused("There is no capsule to take in; bring it again.")
        return reply(request, {"job": jobs.start("import", [str(shown.file)], reads=shown.file)})

    @router.post("/capsule/open")
    def open_sealed(request: Request, what: dict[str, Any]) -> Response:
        row = store.get_capsule(reader.db(), text(what.get("capsule"), "The capsule", 64))
        return reply(request, {"job": jobs.start("open", [row["id"]])})

    @router.post("/capsule/forget")
    def forget(request: Request, what: dict[str, Any]) -> Response:
        row = store.get_capsule(reader.db(), text(what.get("capsule"), "The capsule", 64))
        capsule_unpack.remove(reader.home, row["id"])
        return reply(request, {})

    @router.post("/replay")
    def again(request: Request, what: dict[str, Any]) -> Response:
        db = reader.db()
        found = store.get_exhibit(db, whole(what.get("exhibit"), "The exhibit", 1, 2**62))
        run, sample = store.get_run(db, found["run_id"]), store.get_sample(db, found["sample_id"])
        if why := replay.why_words_only(reader.home, db, run, sample):
            return reply(request, {"job": jobs.said("replay", [asdict(replay.words_only(found, why))])})
        return reply(request, {"job": jobs.start("replay", [f"#{found['id']}"])})

    return router


def _plan(reader: Reader, what: dict[str, Any], wanted: Wanted) -> capsule_pack.Plan:
    """What would be packed of the exhibits that are wanted; raises Refused."""
    db, run = reader.db(), text(what.get("run") or wanted.run_id, "The run", 200)
    runs = [store.get_run(db, run)] if run else store.list_runs(db)
    exhibits = capsule_pack.matching(db, replace(wanted, run_id=""))
    return capsule_pack.plan(reader.home, db, runs, exhibits, what.get("samples") is True)


def _told(job: Job) -> dict[str, Any]:
    told = {"kind": job.kind, "state": job.state, "done": job.done, "total": job.total}
    return told | ({"error": job.error} if job.error else {}) | ({"result": job.result} if job.state == "done" else {})


def _shown(reader: Reader, row: Row) -> dict[str, Any]:
    """The cover of a capsule that came, and the runs that came with it."""
    runs = store.runs_of_capsule(reader.db(), row["id"]) if row["opened_at"] else []
    told = {name: value for name, value in row.items() if name != "here"}
    opens = None if row["sealed_until"] is None else capsule.moment(row["sealed_until"])
    return told | {"runs": json.loads(row["runs"]), "here": runs, "opens_at": opens}


def _remove(jobs: Jobs, token: str, path: Any) -> None:
    path.unlink(missing_ok=True)
    jobs.cancel(token)
