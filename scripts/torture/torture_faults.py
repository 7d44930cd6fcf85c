"""What is done to a run. Each fault takes a session's length, and says whether it struck before the run was over."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from torture_session import Operations, die_at_byte, full_at_byte, shift_clock
from torture_victim import FIRST_STEP, Victim

SOON = 0.15  # share of the kills that come before the first step
REFUSED, FAILED = 2, 1
STOPPED = {signal.SIGTERM: 143, signal.SIGINT: 130}
PATIENT = 30.0  # seconds for a second process to be refused
CHANGED = ("cut", "emptied", "flipped", "removed")
POINTER = "checkpoint"
DAY = 86400.0
CHECKPOINTS = "checkpoints"
LOSABLE = {  # with what the next session says
    "metrics.jsonl": (b"metrics.jsonl is lost",),
    "events*": (b"the event file in",),
    "val/events*": (),  # there may have been no validation yet
    CHECKPOINTS: (b"begins anew",),
}
LINKED = (
    "metrics.jsonl",
    CHECKPOINTS,
    "val",
    "model.keras",
    "results.json",
    "pictures",
    "checkpoints/best",
)


def kill(victim: Victim) -> bool:
    """SIGKILL at any moment."""
    session = victim.start()
    if victim.random.random() < SOON:
        time.sleep(victim.random.uniform(0, victim.peace.start_seconds))
    else:
        session.prints(FIRST_STEP)
        session.prints(b"\0", victim.some_seconds())
    session.signal(signal.SIGKILL)
    return victim.settle(session, (-signal.SIGKILL,))


def operation(victim: Victim) -> bool:
    """SIGKILL in place of opening, making, renaming, removing or syncing a file."""
    number = victim.random.randint(
        1, max(2, int(victim.peace.operations * 0.5 * victim.patience))
    )
    session = victim.start(Operations(victim.folder, number).arm)
    return victim.settle(session, (-signal.SIGKILL,))


def byte(victim: Victim) -> bool:
    """The end within a write, of which the first bytes are on the disk."""
    size = _size(victim)
    session = victim.start(lambda: die_at_byte(size))
    return victim.settle(session, (-signal.SIGXFSZ,))


def stop(victim: Victim) -> bool:
    """SIGTERM or Ctrl-C, after which the run has saved what it had."""
    number = victim.random.choice(list(STOPPED))
    session = victim.start()
    session.prints(FIRST_STEP)
    session.prints(b"\0", victim.some_seconds())
    session.signal(number)
    return victim.settle(session, (STOPPED[number],))


def full(victim: Victim) -> bool:
    """A disk without space, or a limit on the size of files, in one clear line."""
    if victim.disk is None:
        size = _size(victim)
        session = victim.start(lambda: full_at_byte(size))
    else:
        victim.disk.leave(victim.random.randrange(victim.peace.largest * 3))
        session = victim.start()
    struck = victim.settle(session, (FAILED, REFUSED))
    if victim.disk is not None:
        victim.disk.enlarge()
    return struck


def checkpoint(victim: Victim) -> bool:
    """The newest checkpoint is damaged; the next session names it and takes the one before."""
    if not kill(victim):
        return False
    found = victim.checkpoints()
    if victim.broken or len(found) < 2:
        return True
    pointers = [*Path(found[0]).parent.glob(POINTER)]
    name = Path(found[0]).name
    counts = any(
        f'"{name}"' in pointer.read_text() for pointer in pointers
    )  # its write may not have come so far
    files = [*Path(found[0]).parent.glob(f"{name}.*"), *pointers]
    file = victim.random.choice(sorted(files))
    way = _damage(file, victim.random)
    session = victim.start()
    session.prints(FIRST_STEP)
    session.prints(b"\0", victim.some_seconds())
    session.signal(signal.SIGKILL)
    struck = victim.settle(session, (-signal.SIGKILL,))
    if (
        counts
        and way != "flipped"
        and file not in pointers
        and name.encode() not in session.output
    ):
        victim.complain(
            f"{file.name} was {way}, and the next session does not name it"
        )
    return struck


def points(victim: Victim) -> bool:
    """The newest event file is damaged, or the records torn; the rest of the curves stays as it was."""
    if not kill(victim):
        return False
    events = sorted(victim.folder.glob("*tfevents*")) + sorted(
        victim.folder.glob("val/*tfevents*")
    )
    files = [*events, victim.folder / "metrics.jsonl"]
    files = [
        file for file in files if file.is_file() and file.stat().st_size > 1
    ]
    if files:
        file = victim.random.choice(files)
        cut_off = victim.random.randint(1, min(2000, file.stat().st_size - 1))
        kept = file.stat().st_size - cut_off
        if victim.random.random() < 0.5:
            os.truncate(file, kept)
        elif file.suffix == ".jsonl":
            file.write_bytes(
                file.read_bytes()[:kept] + bytes(cut_off)
            )  # as after a loss of power
        else:
            _flip(file, kept)
        victim.torn = True
    return True


def clock(victim: Victim) -> bool:
    """SIGKILL in a session whose clock is off, such as after a battery was changed."""
    offset = (
        victim.random.choice((-1, -1, 1)) * DAY * victim.random.uniform(0, 3000)
    )
    session = victim.start(lambda: shift_clock(offset))
    session.prints(FIRST_STEP)
    session.prints(b"\0", victim.some_seconds())
    session.signal(signal.SIGKILL)
    return victim.settle(session, (-signal.SIGKILL,))


def lost(victim: Victim) -> bool:
    """A file is gone; the next session says so."""
    if not kill(victim):
        return False
    patterns = [
        pattern for pattern in LOSABLE if any(victim.folder.glob(pattern))
    ]
    if victim.broken or not patterns or not victim.checkpoints():
        return True
    pattern = victim.random.choice(patterns)
    for path in victim.folder.glob(pattern):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    victim.torn |= pattern != CHECKPOINTS
    session = victim.start()
    session.prints(FIRST_STEP)
    if not all(words in session.output for words in LOSABLE[pattern]):
        victim.complain(
            f"{pattern} was lost, and the next session does not say so"
        )
    session.signal(signal.SIGKILL)
    return victim.settle(session, (-signal.SIGKILL,))


def link(victim: Victim) -> bool:
    """Somebody puts a link into the run's folder, to a file or a folder of others."""
    if not kill(victim):
        return False
    names = [name for name in LINKED if (victim.folder / name).parent.is_dir()]
    if (
        victim.broken
        or not names
        or not (victim.folder / "config.yaml").is_file()
    ):
        return True
    name = victim.random.choice(names)
    place, aside = victim.folder / name, victim.folder.with_name("aside")
    outside = victim.folder.with_name("outside")
    outside.mkdir()
    (outside / "file").write_text("of others\n")
    if place.exists():
        place.rename(aside)
    place.symlink_to(
        outside if victim.random.random() < 0.5 else outside / "file"
    )
    session = victim.start()
    struck = victim.settle(session, (REFUSED,))
    if b"link" not in session.output:
        victim.complain(
            f"{name} was a link, and the next session does not say so: {session.last_words()}"
        )
    if [path.name for path in outside.iterdir()] != ["file"] or (
        outside / "file"
    ).read_text() != "of others\n":
        victim.complain(
            f"{name} was a link, and something was written where it led"
        )
    place.unlink()
    if aside.exists():
        aside.rename(place)
    shutil.rmtree(outside)
    return struck


def model(victim: Victim) -> bool:
    """The model is lost after the end of the run; one more session writes it again."""
    file = victim.folder / "model.keras"
    way = victim.random.choice(("removed", "cut", "emptied"))
    if way == "removed":
        file.unlink()
    else:
        os.truncate(
            file,
            victim.random.randrange(file.stat().st_size) if way == "cut" else 0,
        )
    session = victim.start()
    if victim.settle(session, ()):
        victim.broken = True
    if b"written again" not in session.output:
        victim.complain(
            f"model.keras was {way}, and the next session does not say so"
        )
    return True


def second(victim: Victim) -> bool:
    """Another process comes to the folder; it is refused, and changes nothing."""
    session = victim.start()
    session.prints(FIRST_STEP)
    session.signal(signal.SIGSTOP)
    if session.over():
        return victim.settle(session, ())
    before = _standing(victim.folder)
    other = victim.start()
    try:
        if other.end(PATIENT) != REFUSED:
            victim.complain(
                f"a second process came in: status {other.status}, {other.last_words()}"
            )
    except TimeoutError:
        victim.complain("a second process came in")
    if _standing(victim.folder) != before:
        victim.complain("a second process changed files")
    session.signal(signal.SIGCONT)
    session.prints(b"\0", victim.some_seconds())
    session.signal(signal.SIGKILL)
    return victim.settle(session, (-signal.SIGKILL,))


FAULTS: dict[
    str, tuple[Callable[[Victim], bool], int]
] = {  # with how often each comes
    "kill": (kill, 8),
    "operation": (operation, 4),
    "byte": (byte, 3),
    "stop": (stop, 2),
    "full": (full, 2),
    "checkpoint": (checkpoint, 2),
    "points": (points, 1),
    "clock": (clock, 3),
    "lost": (lost, 2),
    "link": (link, 1),
    "second": (second, 1),
    "model": (model, 0),  # after the end of each run
}


def _size(victim: Victim) -> int:
    """A size between 1 byte and that of the run's largest file, small ones as likely as large ones."""
    return int(victim.peace.largest ** victim.random.uniform(0.3, 1.0))


def _damage(file: Path, random: Random) -> str:
    way, size = random.choice(CHANGED), file.stat().st_size
    if way == "removed":
        file.unlink()
    elif way == "flipped":
        _flip(file, random.randrange(size))
    else:
        os.truncate(file, random.randrange(size) if way == "cut" else 0)
    return way


def _flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(content)


def _standing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {
        str(path): (one.st_size, one.st_mtime_ns) for path, one in found.items()
    }
