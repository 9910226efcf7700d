"""The prompts that every run is asked: plain files in prompts/ that people edit, one prompt a line."""

from pathlib import Path

from engine.config import ConfigError

PROMPTS = Path(__file__).resolve().parent.parent / "prompts"
LONGEST = 8192
"""Characters of the longest prompt, as everywhere in the studio."""


def suites(folder: Path = PROMPTS) -> list[str]:
    """Names of the suites, sorted: the .txt files of the folder."""
    return sorted(path.stem for path in folder.glob("*.txt"))


def load_suite(name: str, folder: Path = PROMPTS) -> list[str]:
    """The prompts of one suite, in the order of the file, each once.

    Lines that start with # and empty lines are skipped, white space around a prompt is not part of it.
    Raises ConfigError when there is no such file, it is not UTF-8, or holds no prompt or too long a one.
    """
    known = suites(folder)
    if name not in known:
        raise ConfigError(f"There is no prompt file prompts/{name[:80]}.txt; there are {', '.join(known) or 'none'}.")
    try:
        content = (folder / f"{name}.txt").read_bytes()
    except OSError as error:
        raise ConfigError(f"prompts/{name}.txt cannot be read: {error.strerror}.") from error
    return prompts_of(name, content)


def prompts_of(name: str, content: bytes) -> list[str]:
    """The same of a file's content; `name` is what the suite is called in what is said about it."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"prompts/{name}.txt is not UTF-8 text: byte {error.start:,} does not fit.") from error
    prompts: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        prompt = line.strip()
        if len(prompt) > LONGEST:
            raise ConfigError(
                f"prompts/{name}.txt, line {number}: a prompt has at most {LONGEST:,} characters; "
                f"this one has {len(prompt):,}."
            )
        if prompt and not prompt.startswith("#"):
            prompts[prompt] = None
    if not prompts:
        raise ConfigError(f"prompts/{name}.txt holds no prompt; write one a line.")
    return list(prompts)
