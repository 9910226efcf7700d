"""The page's first paint: its frame, in the HTML itself, until Gradio and our scripts have drawn what it stands for."""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.header import MARK, TABS
from ui.statics import REST

BODY = re.compile(rb"<body\b[^>]*>")
LEFT = (56, 150, 62, 62, 62, 120)
RIGHT = (76, 36, 372, 180)
"""Heights in pixels of what the Train page will show in its two columns."""
SCRIPT = """
  const frame = document.currentScript.parentElement;
  const theme = localStorage.getItem("blueberry-theme");
  frame.classList.toggle("dark", theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const tabs = [...frame.querySelectorAll("button")];
  const tab = tabs.find((one) => one.value === new URLSearchParams(location.search).get("tab")) || tabs[0];
  tab.setAttribute("aria-selected", "true");
  frame.dataset.tab = tab.value;
  const late = "Still opening; reload the page if it stays so";
  setTimeout(() => { frame.querySelector(".pill").lastChild.textContent = late; }, 20000);
  if (["train", "compare"].includes(tab.value)) {
    const script = document.createElement("script");
    script.src = "%s/plotly.min.js";
    script.async = true;
    script.onerror = () => script.remove();
    document.head.append(script);
  }
"""
"""Runs as soon as the frame is there. Pages that open with a chart ask for plotly at once, before Gradio begins."""


class Opening:
    """ASGI middleware: puts the frame into the page's HTML, and asks for our styles and scripts at once.

    Gradio adds its `head` by a script of its own, half a second later.
    """

    def __init__(self, app: ASGIApp, *, base: str, scripts: list[str]) -> None:
        self.app = app
        self.head = head(base, scripts).encode()
        self.frame = frame(base).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does; the page itself is sent whole, with the frame in it."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def framed(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            page = BODY.sub(lambda tag: tag[0] + self.frame, body.replace(b"</head>", self.head + b"</head>", 1), 1)
            others = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            await send({**start, "headers": [*others, (b"content-length", str(len(page)).encode())]})
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, framed)


def head(base: str, scripts: list[str]) -> str:
    """What the frame needs to be painted, and what will be needed right after it; nothing runs yet."""
    return f"""
    <link rel="stylesheet" href="{base}/studio.css">
    <link rel="stylesheet" href="{base}/opening.css">
    {"".join(f'<link rel="modulepreload" href="{base}/{name}">' for name in scripts)}
    <link rel="preload" as="style" href="{base}/{REST}">
    """


def frame(base: str) -> str:
    """Brand, tabs and calm boxes where the page will be; app.js takes it away. Not for screen readers or keys."""
    tabs = "".join(f'<button type="button" value="{name}">{label}</button>' for name, label in TABS)
    left, right = ("".join(f'<i style="height:{height}px"></i>' for height in column) for column in (LEFT, RIGHT))
    return f"""
    <div id="opening" data-tab="train" aria-hidden="true" inert>
      <header><div class="brand">{MARK}<span>Blueberry Studio</span></div><i class="run"></i>
        <span class="pill"><span class="dot"></span>Opening</span><div class="tabs">{tabs}</div></header>
      <script>{{{SCRIPT % base}}}</script>
      <div class="boxes"><div class="left">{left}</div><div class="right">{right}</div></div>
    </div>"""
