"""Exhibits that are pinned, in an order of one's own, and tags of exhibits. Functions take an open database first."""

from collections.abc import Sequence

from sqlite_utils import Database

from engine.store.connect import Refused, Row, rows, writing
from engine.store.labels import MOST_TAGS, check_tag

MOST_PINNED = 200
"""Exhibits that can stand in front: four pages of them."""


def pin(db: Database, exhibit: int, pinned: bool = True) -> None:
    """Let an exhibit stand in front, as the last of those that do, or put it back among the others."""
    with writing(db):
        order = _pinned(db)
        if not rows(db, "SELECT 1 FROM archive WHERE id = ?", [exhibit]):
            raise Refused(f"There is no exhibit {exhibit}; it may have been removed.")
        if pinned and exhibit not in order:
            if len(order) >= MOST_PINNED:
                raise Refused(f"{MOST_PINNED} exhibits are pinned already; put one of them back first.")
            pin_last(db, [exhibit])
        elif not pinned:
            db.conn.execute("UPDATE archive SET place = NULL WHERE id = ?", [exhibit])


def pin_last(db: Database, exhibits: Sequence[int]) -> None:
    """Let these stand in front too, after all that do, while there is room, in a transaction of the caller's."""
    room = max(MOST_PINNED - len(_pinned(db)), 0)
    for exhibit in exhibits[:room]:
        db.conn.execute(
            "UPDATE archive SET place = (SELECT ifnull(max(place), 0) + 1 FROM archive) WHERE id = ?", [exhibit]
        )


def place_beside(db: Database, exhibit: int, other: int, after: bool) -> None:
    """Put a pinned exhibit right before, or right `after`, another pinned one."""
    with writing(db):
        order = _pinned(db)
        if exhibit not in order or other not in order or exhibit == other:
            raise Refused("Only two pinned exhibits can change places; pin both first.")
        order.remove(exhibit)
        order.insert(order.index(other) + after, exhibit)
        for place, one in enumerate(order, start=1):
            db.conn.execute("UPDATE archive SET place = ? WHERE id = ? AND place != ?", [place, one, place])


def _pinned(db: Database) -> list[int]:
    return [row["id"] for row in rows(db, "SELECT id FROM archive WHERE place IS NOT NULL ORDER BY place, id")]


def put_tags(db: Database, exhibit: int, tags: Sequence[str]) -> None:
    """Give an exhibit these tags in place of those it has, in a transaction of the caller's.

    Capital letters make no difference: of `Sea` and `sea` the first stays.
    """
    wanted: dict[str, str] = {}
    for tag in map(check_tag, tags):
        wanted.setdefault(tag.casefold(), tag)
    if len(wanted) > MOST_TAGS:
        raise Refused(f"An exhibit has at most {MOST_TAGS} tags; these are {len(wanted)}.")
    db.conn.execute("DELETE FROM exhibit_tags WHERE exhibit = ?", [exhibit])
    for position, (folded, tag) in enumerate(wanted.items()):
        db.conn.execute(
            "INSERT INTO exhibit_tags (folded, exhibit, tag, position) VALUES (?, ?, ?, ?)",
            [folded, exhibit, tag, position],
        )


def with_tags(db: Database, exhibits: list[Row]) -> list[Row]:
    """The same exhibits with their `tags`, in the order in which they were given."""
    ids = [one["id"] for one in exhibits]
    found = rows(
        db,
        f"SELECT exhibit, tag FROM exhibit_tags WHERE exhibit IN ({', '.join('?' * len(ids))}) "
        "ORDER BY exhibit, position",
        ids,
    )
    tags: dict[int, list[str]] = {}
    for row in found:
        tags.setdefault(row["exhibit"], []).append(row["tag"])
    return [one | {"tags": tags.get(one["id"], [])} for one in exhibits]


def tags_in_use(db: Database, limit: int = 40) -> list[Row]:
    """The tags that most exhibits have, as `tag` and `exhibits`; of several spellings the one given first."""
    return rows(
        db,
        """SELECT tag, count(*) AS exhibits, min(exhibit) FROM exhibit_tags GROUP BY folded
           ORDER BY exhibits DESC, folded LIMIT ?""",
        [limit],
    )
